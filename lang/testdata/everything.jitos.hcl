# Every block and attribute there is, once. TestEverything says where each must end up.
jitos {
  required_version = ">= 0.1"
  default          = slap.release
  shell            = ["bash", "-eu"]
  ignore           = ["node_modules/"]
  strict           = true
  trace_reads      = "always"
}

variable "version" {
  type        = string
  default     = "v1"
  description = "What is released"
  sensitive   = true
  validation {
    condition     = startswith(var.version, "v")
    error_message = "It starts with a v."
  }
}

variable "anything" {}

locals {
  b = local.a
  a = fileset("src/*.c")
}

use "golang" {
  source   = "std/go"
  packages = ["./..."]
}

fact "installed" {
  description = "Programs that are there"
  columns     = { tool = string }
  from        = [for t in ["docker", "podman"] : { tool = t } if executable(t)]
}

fact "branch" {
  columns = { name = string }
  probe {
    run    = "git branch --show-current"
    parse  = "json"
    inputs = [".git/HEAD"]
    allow {
      network = true
    }
  }
}

fact "deployed" {
  columns = { env = string, age = number }
  keep    = "always"
}

task "full" {
  description = "Everything a task can say"
  param "os" {
    type        = string
    default     = "linux"
    description = "The target"
  }
  param "options" {
    type    = object({ debug = optional(bool, false) })
    default = {}
  }
  run         = "make ${param.os}"
  for_each    = toset(["a", "b"])
  when        = fact::installed("make") && !fact::deployed(param.os, 1)
  needs       = [task.argv, { task = task.llm, with = { x = 1 } }]
  inputs      = ["src/**", task.argv]
  outputs     = ["out/${each.key}"]
  caches      = { GOCACHE = "go-build", X = { name = "x", sharing = "locked" } }
  tools       = ["gcc"]
  reports     = ["junit.xml"]
  result      = "file:out/result.json"
  env         = { OS = param.os }
  dir         = "src"
  stdin       = "yes\n"
  cost        = 3
  uses        = { db = 1, net = "read" }
  timeout     = "10m"
  external    = true
  check       = "true"
  compensate  = "make undo"
  cache       = false
  interactive = true
  service     = true
  deps_file   = "out/x.d"
  allow {
    network    = true
    paths      = { ro = ["/usr/share"], rw = ["/var/tmp/x"] }
    env        = ["GH_TOKEN"]
    secrets    = [secret.gh]
    ports      = [8080]
    containers = true
  }
  effects {
    asserts  = [fact::deployed(param.os, 1)]
    retracts = [fact::deployed(param.os, 2)]
  }
  retry {
    attempts  = 3
    backoff   = "1s"
    max_delay = "1m"
    jitter    = 0.1
    on_exit   = [75]
  }
  ready {
    run      = "curl -f localhost:8080"
    interval = "100ms"
    timeout  = "30s"
  }
}

task "argv" {
  exec = ["go", "build", "./..."]
}

task "llm" {
  worker "llm" {
    prompt = "Write it"
    model  = "m"
  }
}

task "image" {
  param "tag" {}
}

method "image" "podman" {
  description = "With podman"
  any         = ["reg"]
  when        = fact::installed("podman") && fact::registry(any.reg)
  cost        = 2
  parallel    = true
  step "build" {
    task     = task.argv
    with     = { tag = "${any.reg}/${param.tag}" }
    for_each = ["a"]
  }
  step "other" {
    task  = task.golang.test
    after = []
  }
  step "sign" {
    task  = task.llm
    after = [step.build]
  }
}

slap "release" {
  intent = "Ship ${var.version}"
  context {
    environment = "ci"
  }
  goal {
    task = task.image
    with = { tag = var.version }
  }
  assume "clean tree" {
    condition = fact::clean()
  }
  scope {
    include = ["dist/**"]
    exclude = ["**/*.go"]
  }
  constraint "cheap" {
    condition = plan.cost <= 20
  }
  prefer    = "cost"
  speculate = 2
  success "tests" {
    task = task.argv
  }
  success "small" {
    condition = filesize("dist/app") < 20000000
  }
  success "script" {
    run = "test -s dist/app"
  }
  collapse = "hold"
}

pool "db" {
  description = "Connections"
  capacity    = 2
}

worker "llm" {
  endpoint = "http://localhost:8000"
  circuit_breaker {
    failures = 3
    delay    = "1m"
  }
}

secret "gh" {
  description = "For pushing"
  env         = "GH_TOKEN"
}

task "db" {
  run     = "postgres"
  service = true
  ready {
    port = 5432
  }
}

fact "kernel" {
  columns = { name = string }
  probe {
    exec = ["uname"]
  }
}
