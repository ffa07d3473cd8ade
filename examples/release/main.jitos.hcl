# A release that is not good enough: everything builds, one success criterion fails, so nothing is published.
# `jitos apply --var limit=4000` lets it pass.

variable "limit" {
  type        = number
  default     = 1000
  description = "Largest allowed size of dist/app, in bytes"
}

locals {
  version = trimspace(file("VERSION"))
}

slap "release" {
  intent = "Ship version ${local.version}, tested and small"
  goal { task = task.package }

  # A release writes into dist/ and never touches a source.
  scope {
    include = ["dist/**"]
    exclude = ["**/*.sh"]
  }

  success "works" {
    task = task.smoke
  }
  success "small" {
    condition = filesize("dist/app") < var.limit
  }
}

task "app" {
  description = "One self-contained script"
  inputs      = ["src/*"]
  outputs     = ["dist/app"]
  run         = <<-EOT
    {
      cat src/app.sh
      echo 'exit 0'
      echo '# data'
      i=0
      while [ $i -lt 40 ]; do cat src/data.txt; i=$((i + 1)); done
    } > dist/app
    chmod 755 dist/app
  EOT
}

task "package" {
  description = "The release with its checksum and version"
  inputs      = ["VERSION", "dist/app"]
  outputs     = ["dist/VERSION", "dist/SUMS"]
  run         = <<-EOT
    cp VERSION dist/VERSION
    cd dist
    cksum app VERSION > SUMS
  EOT
}

task "smoke" {
  description = "Does the packaged script greet?"
  needs       = [task.package]
  inputs      = ["dist/app"]
  run         = "test \"$(./dist/app jitos)\" = 'hello, jitos'"
}
