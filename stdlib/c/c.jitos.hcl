# C: objects, a library of them, programs and tests. Headers become inputs as the compiler finds them.

variable "sources" {
  description = "The sources that all programs and tests share, as patterns"
  type        = list(string)
  default     = ["src/**/*.c", "src/*.c"]
}

variable "programs" {
  description = "The programs: what each is called, and the file that has its main"
  type        = map(string)
  default     = {}
}

variable "tests" {
  description = "Sources of which each is a test, a program that exits with 0, as patterns"
  type        = list(string)
  default     = ["tests/*.c"]
}

variable "library" {
  description = "The library of the shared sources"
  type        = string
  default     = "build/libshared.a"
}

variable "compiler" {
  description = "The C compiler"
  type        = string
  default     = "cc"
}

variable "cflags" {
  description = "Flags for the compiler"
  type        = string
  default     = "-O2 -Wall"
}

variable "ldflags" {
  description = "Flags for the linker, libraries last"
  type        = string
  default     = ""
}

variable "build" {
  description = "The directory for objects"
  type        = string
  default     = "build"
}

variable "bin" {
  description = "The directory for programs"
  type        = string
  default     = "bin"
}

locals {
  tests   = fileset(var.tests...)
  shared  = setsubtract(fileset(var.sources...), setunion(toset(values(var.programs)), local.tests))
  objects = { for f in setunion(local.shared, toset(values(var.programs)), local.tests) : f => "${var.build}/${trimsuffix(f, ".c")}" }
}

task "object" {
  description = "Compile a source"
  for_each    = local.objects
  inputs      = [each.key]
  outputs     = ["${each.value}.o"]
  deps_file   = "${each.value}.d"
  tools       = [var.compiler]
  run         = "${var.compiler} ${var.cflags} -MMD -MF '${each.value}.d' -c '${each.key}' -o '${self.outputs[0]}'"
}

task "library" {
  description = "Put the objects of the shared sources into a library"
  inputs      = [for f in local.shared : "${local.objects[f]}.o"]
  outputs     = [var.library]
  tools       = ["ar"]
  run         = "ar rcsD '${var.library}' ${join(" ", [for f in local.shared : "'${local.objects[f]}.o'"])}"
}

task "program" {
  description = "Link a program"
  for_each    = var.programs
  inputs      = ["${local.objects[each.value]}.o", var.library]
  outputs     = ["${var.bin}/${each.key}"]
  tools       = [var.compiler]
  run         = "${var.compiler} '${local.objects[each.value]}.o' '${var.library}' ${var.ldflags} -o '${self.outputs[0]}'"
}

task "test-program" {
  for_each = local.tests
  inputs   = ["${local.objects[each.key]}.o", var.library]
  outputs  = [local.objects[each.key]]
  tools    = [var.compiler]
  run      = "${var.compiler} '${local.objects[each.key]}.o' '${var.library}' ${var.ldflags} -o '${self.outputs[0]}'"
}

task "test" {
  description = "Run a test"
  for_each    = local.tests
  inputs      = [local.objects[each.key]]
  outputs     = []
  exec        = ["./${local.objects[each.key]}"]
}

task "build" {
  description = "Build the library and the programs"
  needs       = [task.library, task.program]
}
