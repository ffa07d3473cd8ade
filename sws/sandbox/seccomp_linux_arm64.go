package sandbox

import "golang.org/x/sys/unix"

const archAudit = unix.AUDIT_ARCH_AARCH64

const sysRename = -1 // there is none

var renames = []uint32{unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2}

var archDenied = [...]uint32{unix.SYS_LOOKUP_DCOOKIE}
