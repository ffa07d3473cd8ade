# pebble, a small expression language in C: thirty sources compiled side by side, an archive, a program, tests.
# The compiler tells which headers a source read (-MMD), so a changed header rebuilds what includes it and nothing else.

variable "optimize" {
  type        = string
  default     = "-O2"
  description = "gcc's optimisation flag"
}

locals {
  sources = fileset("src/*.c")
  cflags  = [var.optimize, "-g", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]

  # Everything but main(), for the archive that the unit tests link as well.
  library = [for s in local.sources : "build/${trimsuffix(basename(s), ".c")}.o" if s != "src/main.c"]
}

slap "pebble" {
  intent = "A tested pebble"
  goal { task = task.program }
  scope { include = ["bin/**", "build/**"] }
  success "unit" { task = task.unit }
  success "programs" { task = task.programs }
}

# One step per source. Its headers are not declared: the depfile names them once it ran.
task "object" {
  description = "Compile one source"
  for_each    = local.sources
  inputs      = [each.key]
  outputs     = ["build/${trimsuffix(basename(each.key), ".c")}.o"]
  deps_file   = "build/${trimsuffix(basename(each.key), ".c")}.d"
  tools       = ["gcc"]
  exec = concat(["gcc"], local.cflags, [
    "-MMD", "-MF", "build/${trimsuffix(basename(each.key), ".c")}.d",
    "-c", each.key, "-o", self.outputs[0],
  ])
}

task "library" {
  description = "All of it but main, as an archive"
  inputs      = local.library
  outputs     = ["build/libpebble.a"]
  tools       = ["ar"]
  run         = <<-EOT
    rm -f build/libpebble.a
    ar rcsD build/libpebble.a ${join(" ", local.library)}
  EOT
}

task "program" {
  description = "Link the interpreter"
  inputs      = ["build/main.o", "build/libpebble.a"]
  outputs     = ["bin/pebble"]
  tools       = ["gcc"]
  exec        = ["gcc", "-o", "bin/pebble", "build/main.o", "build/libpebble.a", "-lm"]
}

task "unit" {
  description = "Unit tests, linked with the archive"
  inputs      = ["tests/unit.c", "src/*.h", "build/libpebble.a"]
  outputs     = ["build/unit"]
  tools       = ["gcc"]
  run         = <<-EOT
    gcc ${join(" ", local.cflags)} -o build/unit tests/unit.c build/libpebble.a -lm
    ./build/unit
  EOT
}

# One step per program in tests/: its output, errors and exit status must be those in the file beside it.
task "programs" {
  description = "Run the test programs"
  for_each    = fileset("tests/*.pb")
  inputs      = ["bin/pebble", "tests/run.sh", each.key, "${trimsuffix(each.key, ".pb")}.out"]
  run         = "tests/run.sh bin/pebble ${each.key}"
}
