package sandbox

import "golang.org/x/sys/unix"

const archAudit = unix.AUDIT_ARCH_AARCH64

var archDenied = [...]uint32{unix.SYS_LOOKUP_DCOOKIE}
