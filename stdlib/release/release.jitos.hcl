# What a release needs besides the program: checksums of its files.

variable "files" {
  description = "The files of the release"
  type        = list(string)
}

variable "sums" {
  description = "The file that lists the checksums"
  type        = string
  default     = "SHA256SUMS"
}

task "checksums" {
  description = "List the SHA-256 checksums of the files"
  inputs      = var.files
  outputs     = [var.sums]
  run         = "sha256sum -- ${join(" ", formatlist("'%s'", var.files))} > '${var.sums}'"
}
