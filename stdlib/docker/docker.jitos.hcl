# Container images, by whichever of docker, podman and buildah is there.

variable "tag" {
  description = "What the image is called, as registry.example.com/app:v1"
  type        = string
}

variable "context" {
  description = "The directory that the image is built from"
  type        = string
  default     = "."
}

variable "file" {
  description = "The Dockerfile"
  type        = string
  default     = "Dockerfile"
}

variable "args" {
  description = "Build arguments"
  type        = map(string)
  default     = {}
}

variable "id" {
  description = "The file that the identity of the image is written to"
  type        = string
  default     = "build/image-id"
}

variable "archive" {
  description = "The file that save writes"
  type        = string
  default     = "build/image.tar"
}

locals {
  at     = var.context == "." ? "" : "${trimsuffix(var.context, "/")}/"
  args   = flatten([for k, v in var.args : ["--build-arg", "${k}=${v}"]])
  inputs = distinct([var.file, "${local.at}**"])
}

task "image" {
  description = "Build the image"
}

method "image" "docker" {
  when = executable("docker")
  step "build" {
    task = task.build-with
    with = { command = ["docker", "build"] }
  }
}

method "image" "podman" {
  when = executable("podman")
  step "build" {
    task = task.build-with
    with = { command = ["podman", "build"] }
  }
}

method "image" "buildah" {
  when = executable("buildah")
  step "build" {
    task = task.build-with
    with = { command = ["buildah", "bud"] }
  }
}

task "build-with" {
  param "command" { type = list(string) }
  inputs  = local.inputs
  outputs = [var.id]
  allow {
    network    = true
    containers = true
  }
  exec = concat(param.command, ["--iidfile", var.id, "-t", var.tag, "-f", var.file], local.args, [var.context])
}

task "save" {
  description = "Write the image into a file"
  needs       = [task.image]
}

method "save" "docker" {
  when = executable("docker")
  step "save" {
    task = task.save-with
    with = { command = ["docker", "save", "-o", var.archive, var.tag] }
  }
}

method "save" "podman" {
  when = executable("podman")
  step "save" {
    task = task.save-with
    with = { command = ["podman", "save", "-o", var.archive, var.tag] }
  }
}

method "save" "buildah" {
  when = executable("buildah")
  step "save" {
    task = task.save-with
    with = { command = ["buildah", "push", var.tag, "docker-archive:${var.archive}:${var.tag}"] }
  }
}

task "save-with" {
  param "command" { type = list(string) }
  inputs  = [var.id]
  outputs = [var.archive]
  allow {
    containers = true
  }
  exec = param.command
}
