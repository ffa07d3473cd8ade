package sandbox

import "golang.org/x/sys/unix"

const archAudit = unix.AUDIT_ARCH_X86_64

var archDenied = [...]uint32{unix.SYS_IOPL, unix.SYS_IOPERM}
