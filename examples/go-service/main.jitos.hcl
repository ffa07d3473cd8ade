# A small HTTP service: its routes are generated, then it is vetted, tested and built.
# `jitos apply` does all of it; `jitos apply build os=darwin` cross-compiles.

locals {
  # Go's caches live outside the workspace and are kept between runs, so that building inside
  # a step is as fast the second time as outside.
  go_caches = {
    GOCACHE    = "go-build"
    GOMODCACHE = "go-mod"
  }
  go_env = {
    CGO_ENABLED = "0"
    GOFLAGS     = "-trimpath -buildvcs=false"
    GOTOOLCHAIN = "local" # never download another toolchain
    GOPROXY     = "off"   # nor a module: there is none to download
  }
  go_tools = ["go"]
}

slap "service" {
  intent = "A tested server binary"
  goal { task = task.build }
  scope { include = ["bin/**", "internal/web/routes_gen.go"] }
  success "vetted" { task = task.vet }
  success "tested" { task = task.test }
}

task "generate" {
  description = "Turn the route table into Go"
  inputs      = ["go.mod", "gen/main.go", "api/routes.txt"]
  outputs     = ["internal/web/routes_gen.go"]
  caches      = local.go_caches
  env         = local.go_env
  tools       = local.go_tools
  run         = "go run ./gen api/routes.txt internal/web/routes_gen.go"
}

# Its inputs match what generate puts out, so it runs after it.
task "build" {
  description = "Build the server"
  param "os" {
    type    = string
    default = "linux"
  }
  inputs  = ["go.mod", "cmd/**/*.go", "internal/**/*.go"]
  outputs = ["bin/server-${param.os}"]
  caches  = local.go_caches
  env     = merge(local.go_env, { GOOS = param.os })
  tools   = local.go_tools
  run     = "go build -o ${self.outputs[0]} ./cmd/server"
}

task "vet" {
  description = "Report suspicious code"
  inputs      = ["go.mod", "**/*.go"]
  caches      = local.go_caches
  env         = local.go_env
  tools       = local.go_tools
  run         = "go vet ./..."
}

task "test" {
  description = "Run the unit tests"
  inputs      = ["go.mod", "**/*.go"]
  caches      = local.go_caches
  env         = local.go_env
  tools       = local.go_tools
  run         = "go test ./..."
}
