# A few poems become one report: which words they use, and checksums to prove it.
# Everything here is plain sh and coreutils. Start with `jitos plan`, then `jitos apply`.

locals {
  poems = fileset("poems/*.txt")
}

# What `jitos apply` applies when no target is named.
slap "report" {
  intent = "A report about the poems"
  goal { task = task.report }

  # Nothing outside out/ may change, and a report without its title does not count.
  scope { include = ["out/**"] }
  success "titled" {
    condition = strcontains(file("out/report.txt"), "Word report")
  }
}

# One step per poem. They do not depend on each other, so they run at the same time,
# and editing one poem runs one of them again.
task "words" {
  description = "Count the words of one poem"
  for_each    = local.poems
  inputs      = [each.key]
  outputs     = ["out/words/${basename(each.key)}"]
  run         = <<-EOT
    tr -cs '[:alpha:]' '\n' < '${each.key}' | tr '[:upper:]' '[:lower:]' |
      sort | uniq -c | sort -k1,1nr -k2 > '${self.outputs[0]}'
  EOT
}

# Its input pattern matches what task.words puts out, so it runs after all of them.
task "top" {
  description = "The ten words used most, over all poems"
  inputs      = ["out/words/*.txt"]
  outputs     = ["out/top.txt"]
  run         = <<-EOT
    cat out/words/*.txt | while read -r n word; do
      while [ "$n" -gt 0 ]; do echo "$word"; n=$((n - 1)); done
    done | sort | uniq -c | sort -k1,1nr -k2 | head -n 10 > out/top.txt
  EOT
}

# Two ways to one end: the first whose condition holds is taken.
task "checksums" {
  description = "Checksums of the poems (sha256sum | cksum)"
}

method "checksums" "sha256" {
  when = fact::installed("sha256sum")
  step "sum" { task = task.sha256 }
}

method "checksums" "cksum" {
  step "sum" { task = task.cksum }
}

fact "installed" {
  columns = { tool = string }
  from    = [for t in ["sha256sum"] : { tool = t } if executable(t)]
}

task "sha256" {
  inputs  = ["poems/*.txt"]
  outputs = ["out/checksums.txt"]
  run     = "sha256sum poems/*.txt > out/checksums.txt"
}

task "cksum" {
  inputs  = ["poems/*.txt"]
  outputs = ["out/checksums.txt"]
  run     = "cksum poems/*.txt > out/checksums.txt"
}

task "report" {
  description = "Put it all together"
  needs       = [task.checksums]
  inputs      = ["out/top.txt", "out/checksums.txt", "poems/*.txt"]
  outputs     = ["out/report.txt"]
  run         = <<-EOT
    {
      echo "Word report"
      echo
      echo "Lines and words"
      wc -l -w poems/*.txt
      echo
      echo "The words used most"
      cat out/top.txt
      echo
      echo "Checksums"
      cat out/checksums.txt
    } > out/report.txt
  EOT
}
