# Three ways to render a page. The first cannot be planned here, the second starts and fails half-way,
# the third works. The workspace sees only the third; `jitos show` tells about all of them.

slap "default" {
  intent = "The handbook as a web page"
  goal { task = task.render }
  scope { include = ["out/**"] }
}

fact "installed" {
  columns = { tool = string }
  from    = [for t in ["jitos-example-renderer"] : { tool = t } if executable(t)]
}

task "render" {
  description = "Render the page (renderer | converter | plain)"
}

# Not possible while planning: nobody has this program.
method "render" "renderer" {
  when = fact::installed("jitos-example-renderer")
  step "page" { task = task.renderer }
}

# Possible on paper, but it fails while it runs.
method "render" "converter" {
  step "page" { task = task.converter }
}

# Works everywhere.
method "render" "plain" {
  step "page" { task = task.plain }
}

task "renderer" {
  inputs  = ["pages/index.md"]
  outputs = ["out/index.html"]
  exec    = ["jitos-example-renderer", "pages/index.md", "out/index.html"]
}

task "converter" {
  description = "Breaks after it has made a mess"
  inputs      = ["pages/index.md"]
  outputs     = ["out/index.html"]
  run         = <<-EOT
    echo '<html>half a pa' > out/index.html
    echo 'garbage' > leftover.tmp
    echo 'garbage' >> pages/index.md
    mkdir -p out/cache
    echo 'garbage' > out/cache/state
    echo 'converter: unsupported feature: lists' >&2
    exit 1
  EOT
}

task "plain" {
  description = "Wrap the text as it is"
  inputs      = ["pages/index.md"]
  outputs     = ["out/index.html"]
  run         = <<-EOT
    # No trace of the other ways may be visible from here.
    test ! -e leftover.tmp
    test ! -e out/cache
    {
      echo '<!doctype html><title>Handbook</title><pre>'
      cat pages/index.md
      echo '</pre>'
    } > out/index.html
  EOT
}
