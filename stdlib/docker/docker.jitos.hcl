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
  step "build" { task = task.docker-image }
}

method "image" "podman" {
  when = executable("podman")
  step "build" { task = task.podman-image }
}

method "image" "buildah" {
  when = executable("buildah")
  step "build" { task = task.buildah-image }
}

task "docker-image" {
  inputs  = local.inputs
  outputs = [var.id]
  allow {
    network    = true
    containers = true
  }
  exec = concat(["docker", "build", "--iidfile", var.id, "-t", var.tag, "-f", var.file], local.args, [var.context])
}

task "podman-image" {
  inputs  = local.inputs
  outputs = [var.id]
  allow {
    network    = true
    containers = true
  }
  exec = concat(["podman", "build", "--iidfile", var.id, "-t", var.tag, "-f", var.file], local.args, [var.context])
}

task "buildah-image" {
  inputs  = local.inputs
  outputs = [var.id]
  allow {
    network    = true
    containers = true
  }
  exec = concat(["buildah", "bud", "--iidfile", var.id, "-t", var.tag, "-f", var.file], local.args, [var.context])
}

task "save" {
  description = "Write the image into a file"
  needs       = [task.image]
}

method "save" "docker" {
  when = executable("docker")
  step "save" { task = task.docker-save }
}

method "save" "podman" {
  when = executable("podman")
  step "save" { task = task.podman-save }
}

method "save" "buildah" {
  when = executable("buildah")
  step "save" { task = task.buildah-save }
}

task "docker-save" {
  inputs  = [var.id]
  outputs = [var.archive]
  allow {
    containers = true
  }
  exec = ["docker", "save", "-o", var.archive, var.tag]
}

task "podman-save" {
  inputs  = [var.id]
  outputs = [var.archive]
  allow {
    containers = true
  }
  exec = ["podman", "save", "-o", var.archive, var.tag]
}

task "buildah-save" {
  inputs  = [var.id]
  outputs = [var.archive]
  allow {
    containers = true
  }
  exec = ["buildah", "push", var.tag, "docker-archive:${var.archive}:${var.tag}"]
}
