# A Node.js package: the package manager is the one whose lock file is there.

variable "dir" {
  description = "Where package.json is"
  type        = string
  default     = "."
}

variable "inputs" {
  description = "What the script build reads, below dir; without any it always runs"
  type        = list(string)
  default     = []
}

variable "outputs" {
  description = "What the script build writes, below dir; a directory ends in a slash"
  type        = list(string)
  default     = []
}

locals {
  at      = var.dir == "." ? "" : "${trimsuffix(var.dir, "/")}/"
  caches  = { npm_config_cache = "npm", YARN_CACHE_FOLDER = "yarn", npm_config_store_dir = "pnpm" }
  package = jsondecode(file("${local.at}package.json"))
  asks    = anytrue([for k in ["dependencies", "devDependencies", "optionalDependencies", "workspaces"] : length(try(local.package[k], {})) > 0])
  scripts = keys(try(local.package.scripts, {}))
  files   = fileset([for f in ["package.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock", ".npmrc", ".yarnrc.yml"] : "${local.at}${f}"]...)
  pnpm    = fileexists("${local.at}pnpm-lock.yaml")
  yarn    = fileexists("${local.at}yarn.lock")
  npm     = fileexists("${local.at}package-lock.json")
  manager = local.pnpm ? "pnpm" : local.yarn ? "yarn" : "npm"
  known   = length(var.inputs) > 0 && length(var.outputs) > 0
}

task "install" {
  description = "Install what the lock file names, or else package.json"
}

method "install" "nothing" {
  when = !local.asks
  step "install" { task = task.install-nothing }
}

method "install" "pnpm" {
  when = local.pnpm
  step "install" {
    task = task.install-locked
    with = { command = ["pnpm", "install", "--frozen-lockfile"] }
  }
}

method "install" "yarn" {
  when = local.yarn
  step "install" {
    task = task.install-locked
    with = { command = ["yarn", "install", "--frozen-lockfile"] }
  }
}

method "install" "npm" {
  when = local.npm
  step "install" {
    task = task.install-locked
    with = { command = ["npm", "ci", "--no-audit", "--no-fund"] }
  }
}

method "install" "npm-without-lock" {
  step "install" { task = task.install-unlocked }
}

task "install-nothing" {
  inputs  = []
  outputs = []
  exec    = ["true"]
}

task "install-locked" {
  param "command" { type = list(string) }
  inputs  = local.files
  outputs = ["${local.at}node_modules/"]
  dir     = var.dir
  caches  = local.caches
  allow {
    network = true
  }
  exec = param.command
}

# all that it writes is its output: the lock file as well
task "install-unlocked" {
  inputs = local.files
  dir    = var.dir
  caches = local.caches
  allow {
    network = true
  }
  exec = ["npm", "install", "--no-audit", "--no-fund"]
}

task "run" {
  description = "Run a script of package.json"
  param "script" {
    type        = string
    description = "What it is called there"
  }
  needs  = [task.install]
  dir    = var.dir
  caches = local.caches
  exec   = local.manager == "npm" ? ["npm", "run", "--silent", param.script] : [local.manager, "run", param.script]
}

task "build" {
  description = "Run the script build"
}

method "build" "known" {
  when = local.known
  step "build" { task = task.build-known }
}

method "build" "any" {
  when = contains(local.scripts, "build")
  step "build" {
    task = task.run
    with = { script = "build" }
  }
}

task "build-known" {
  needs   = [task.install]
  inputs  = concat(tolist(local.files), [for f in var.inputs : "${local.at}${f}"])
  outputs = [for f in var.outputs : "${local.at}${f}"]
  dir     = var.dir
  caches  = local.caches
  exec    = [local.manager, "run", "build"]
}

task "test" {
  description = "Run the script test"
}

method "test" "script" {
  when = contains(local.scripts, "test")
  step "test" {
    task = task.run
    with = { script = "test" }
  }
}
