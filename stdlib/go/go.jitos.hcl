# A Go module: its commands, its tests, package by package, and what looks after its code.
#
# Packages may embed any file, so what compiles them looks at all files. A test looks at the files of its package, at its
# testdata, at what `tests_read` names, and at the code that it is made of.

variable "dir" {
  description = "Where go.mod is"
  type        = string
  default     = "."
}

variable "packages" {
  description = "What compile, vet and lint look at, as go names it"
  type        = list(string)
  default     = ["./..."]
}

variable "flags" {
  description = "Flags for go build and go test, as -tags=x or -race"
  type        = list(string)
  default     = []
}

variable "ldflags" {
  description = "Flags for the linker, as -X main.version=v1"
  type        = string
  default     = ""
}

variable "bin" {
  description = "The directory for the commands, below dir"
  type        = string
  default     = "bin"
}

variable "env" {
  description = "Variables for go, as GOOS"
  type        = map(string)
  default     = {}
}

variable "generated" {
  description = "What go generate writes; with any, everything comes after it"
  type        = list(string)
  default     = []
}

variable "tests_read" {
  description = "What tests read outside of their packages, as patterns below dir"
  type        = list(string)
  default     = []
}

locals {
  at     = var.dir == "." ? "" : "${trimsuffix(var.dir, "/")}/"
  caches = { GOCACHE = "go-build", GOMODCACHE = "go-mod" }

  # as go does: no testdata, nothing below vendor, nothing whose name begins with _ or .
  sources  = [for f in fileset("${local.at}*.go", "${local.at}**/*.go") : f if !can(regex("(^|/)(testdata|vendor|[_.][^/]*)/|(^|/)[_.][^/]*$", trimprefix(f, local.at)))]
  module   = [for m in regexall("(?m)^module[ \t]+\"?([^\\s\"]+)", file("${local.at}go.mod")) : m[0]]
  commands = toset([for f in local.sources : dirname(f) if basename(f) == "main.go"])
  tested   = toset([for f in local.sources : dirname(f) if endswith(f, "_test.go")])
  version  = fileset("${local.at}go.mod", "${local.at}go.sum", "${local.at}go.work")
  flags    = join(" ", [for f in var.flags : "'${f}'"])
  packages = join(" ", [for p in var.packages : "'${p}'"])
  first    = length(var.generated) > 0
  ldflags  = var.ldflags == "" ? "" : "-ldflags '${var.ldflags}'"

  # a command is called as its directory; at the top, as the module
  names = { for d in local.commands : d => d == var.dir ? basename(local.module[0]) : basename(d) }
}

task "modules" {
  description = "Download the modules that go.mod asks for"
  inputs      = local.version
  dir         = var.dir
  caches      = local.caches
  allow {
    network = true
  }
  exec = ["go", "mod", "download"]
}

# what compiling comes after
task "ready" {
  needs = [for t in [{ task = task.modules, on = true }, { task = task.generate-known, on = local.first }] : t.task if t.on]
}

task "generate" {
  description = "Run go generate"
}

method "generate" "known" {
  when = local.first
  step "generate" { task = task.ready }
}

method "generate" "any" {
  step "generate" { task = task.generate-any }
}

task "generate-known" {
  needs   = [task.modules]
  outputs = [for g in var.generated : "${local.at}${g}"] # its inputs are all files but these
  dir     = var.dir
  caches  = local.caches
  run     = "go generate ${local.packages}"
}

task "generate-any" {
  needs  = [task.modules]
  dir    = var.dir
  caches = local.caches
  run    = "go generate ${local.packages}"
}

task "compile" {
  description = "Compile every package"
  needs       = [task.ready]
  outputs     = []
  dir         = var.dir
  env         = var.env
  caches      = local.caches
  run         = "go build ${local.flags} -o /dev/null ${local.packages}"
}

task "command" {
  description = "Build a command"
  for_each    = local.commands
  needs       = [task.ready]
  outputs     = ["${local.at}${var.bin}/${local.names[each.key]}"]
  dir         = var.dir
  env         = var.env
  caches      = local.caches
  run         = "go build ${local.flags} ${local.ldflags} -o '${var.bin}/${local.names[each.key]}' './${trimprefix(each.key, local.at)}'"
}

task "build" {
  description = "Compile every package, and build the commands"
  needs       = [task.compile, task.command]
}

task "test" {
  description = "Test a package"
  for_each    = local.tested
  needs       = [task.ready]
  inputs      = [for f in concat(tolist(local.version), ["${each.key}/*", "${each.key}/testdata/**"], [for r in var.tests_read : "${local.at}${r}"]) : trimprefix(f, "./")]
  outputs     = []
  deps_file   = "${local.at}.jitos-test-${sha1(each.key)}.json"
  dir         = var.dir
  env         = var.env
  caches      = local.caches
  run         = <<-SH
    # the files of the packages that it is made of become inputs
    go list ${local.flags} -deps -test -f '{{if not .Standard}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}' './${trimprefix(each.key, local.at)}' |
      sed -n "s|^$PWD/||p" | sort -u | sed 's|.*|"${local.at}&"|' | paste -sd, | sed 's|.*|[&]|' > '.jitos-test-${sha1(each.key)}.json'
    go test ${local.flags} './${trimprefix(each.key, local.at)}'
  SH
}

task "vet" {
  description = "Look for suspicious code"
  needs       = [task.ready]
  outputs     = []
  dir         = var.dir
  env         = var.env
  caches      = local.caches
  run         = "go vet ${local.packages}"
}

task "format" {
  description = "Check that gofmt has nothing to say"
  inputs      = ["${local.at}*.go", "${local.at}**/*.go"]
  outputs     = []
  dir         = var.dir
  exec        = concat(["sh", "-c", "l=$(gofmt -l \"$@\") && [ -z \"$l\" ] || { echo \"not as gofmt writes them:\"; echo \"$l\"; exit 1; }", "sh"], [for f in local.sources : trimprefix(f, local.at)])
}

task "lint" {
  description = "Check the code with the best linter that there is"
}

method "lint" "golangci-lint" {
  when = executable("golangci-lint")
  step "lint" { task = task.golangci-lint }
}

method "lint" "staticcheck" {
  when = executable("staticcheck")
  step "lint" { task = task.staticcheck }
}

method "lint" "vet" {
  parallel = true
  step "vet" { task = task.vet }
  step "format" { task = task.format }
}

task "golangci-lint" {
  needs   = [task.ready]
  outputs = []
  dir     = var.dir
  env     = merge({ GOLANGCI_LINT_CACHE = "/tmp/golangci-lint" }, var.env)
  caches  = local.caches
  run     = "golangci-lint run ${local.packages}"
}

task "staticcheck" {
  needs   = [task.ready]
  outputs = []
  dir     = var.dir
  env     = merge({ STATICCHECK_CACHE = "/tmp/staticcheck" }, var.env)
  caches  = local.caches
  run     = "staticcheck ${local.packages}"
}
