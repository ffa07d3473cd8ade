# What has to be done with files, whatever the project is.

task "write" {
  description = "Write a text into a file"
  param "path" {
    type        = string
    description = "The file"
  }
  param "text" {
    type        = string
    description = "What it is to hold"
  }
  inputs  = []
  outputs = [param.path]
  env     = { TEXT = param.text }
  run     = "printf %s \"$TEXT\" > '${param.path}'"
}

task "copy" {
  description = "Copy a file"
  param "from" { type = string }
  param "to" { type = string }
  inputs  = [param.from]
  outputs = [param.to]
  exec    = ["cp", "--preserve=mode", "--", param.from, param.to]
}

task "join" {
  description = "Write files one after the other into one"
  param "from" { type = list(string) }
  param "to" { type = string }
  inputs  = param.from
  outputs = [param.to]
  run     = "cat -- ${join(" ", [for f in param.from : "'${f}'"])} > '${param.to}'"
}

task "download" {
  description = "Fetch a file, and check that it is the one that is meant"
  param "url" { type = string }
  param "to" { type = string }
  param "sha256" {
    type        = string
    description = "Its checksum; another file is an error"
  }
  inputs  = []
  outputs = [param.to]
  allow {
    network = true
  }
  run = <<-SH
    if command -v curl > /dev/null; then
      curl -fsSL --retry 3 -o '${param.to}' '${param.url}'
    else
      wget -q -O '${param.to}' '${param.url}'
    fi
    printf '%s  %s\n' '${param.sha256}' '${param.to}' | sha256sum -c - > /dev/null
  SH
}

task "unpack" {
  description = "Unpack an archive that tar understands into a directory"
  param "archive" { type = string }
  param "to" { type = string }
  param "strip" {
    type        = number
    default     = 0
    description = "How many leading directories of its names go"
  }
  inputs  = [param.archive]
  outputs = ["${trimsuffix(param.to, "/")}/"]
  run     = "mkdir -p '${param.to}' && tar -xf '${param.archive}' -C '${param.to}' --strip-components=${param.strip} --no-same-owner"
}
