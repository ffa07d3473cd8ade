# What a release needs besides the program: an archive, checksums, and what changed.

variable "files" {
  description = "The files of the release"
  type        = list(string)
}

variable "sums" {
  description = "The file that lists the checksums"
  type        = string
  default     = "SHA256SUMS"
}

variable "archive" {
  description = "The archive of the files, .tar.gz or what else tar knows by its name"
  type        = string
  default     = "dist/release.tar.gz"
}

variable "since" {
  description = "The tag or commit that the changes are counted from; absent, the last tag"
  type        = string
  default     = ""
}

variable "changes" {
  description = "The file that lists the changes"
  type        = string
  default     = "dist/CHANGES.md"
}

task "checksums" {
  description = "List the SHA-256 checksums of the files"
  inputs      = var.files
  outputs     = [var.sums]
  run         = "sha256sum -- ${join(" ", formatlist("'%s'", var.files))} > '${var.sums}'"
}

task "archive" {
  description = "Pack the files, the same bytes from the same files"
  inputs      = var.files
  outputs     = [var.archive]
  env         = { GZIP = "-n" }
  run         = "tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go-w -caf '${var.archive}' -- ${join(" ", formatlist("'%s'", var.files))}"
}

task "changelog" {
  description = "List the commits since the last tag"
  inputs      = []
  outputs     = [var.changes]
  cache       = false # where the commits are differs between clones, work trees and submodules
  run         = <<-SH
    since='${var.since}'
    here=$(git describe --tags --exact-match 2> /dev/null) || here=
    if [ -z "$since" ]; then # of a tagged commit: the tag before
      since=$(git describe --tags --abbrev=0 $${here:+HEAD^} 2> /dev/null) || since=
    fi
    {
      echo "# $${here:-Unreleased}"
      echo
      git log --no-merges --reverse --pretty='format:- %s (%h)%n' $${since:+"$since"..}HEAD
    } > '${var.changes}'
  SH
}
