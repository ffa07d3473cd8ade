package sandbox

import "golang.org/x/sys/unix"

const archAudit = unix.AUDIT_ARCH_X86_64

const sysRename = unix.SYS_RENAME

var renames = []uint32{unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2}

var archDenied = [...]uint32{unix.SYS_IOPL, unix.SYS_IOPERM}
