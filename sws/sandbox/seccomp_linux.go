package sandbox

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	bpfLoad   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	bpfEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	bpfGE     = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	bpfSet    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	bpfJump   = unix.BPF_JMP | unix.BPF_JA
	bpfReturn = unix.BPF_RET | unix.BPF_K
)

type insn = unix.SockFilter

// call is a system call and what is done about it; the code ends with a return on every path.
type call struct {
	nr   uint32
	code []insn
}

func fail(e unix.Errno) insn { return insn{Code: bpfReturn, K: unix.SECCOMP_RET_ERRNO | uint32(e)} }

var allow = insn{Code: bpfReturn, K: unix.SECCOMP_RET_ALLOW}

// argument loads the low half of an argument (little-endian); all that are looked at are ints for the kernel too.
func argument(n uint32) insn { return insn{Code: bpfLoad, K: 16 + 8*n} }

// among refuses, or else allows, when an argument is one of the values.
func among(arg uint32, refuse bool, e unix.Errno, values ...uint32) []insn {
	hit, miss := fail(e), allow
	if !refuse {
		hit, miss = miss, hit
	}
	code := []insn{argument(arg)}
	for i, v := range values {
		code = append(code, insn{Code: bpfEqual, K: v, Jt: uint8(len(values) - i)})
	}
	return append(code, miss, hit)
}

const cloneNew = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET

// denied is the deny list, in order of the numbers.
func denied() []call {
	var list []call
	for _, nr := range slices.Concat(archDenied[:], []uint32{unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_MOVE_MOUNT,
		unix.SYS_OPEN_TREE, 467 /* open_tree_attr */, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
		unix.SYS_USERFAULTFD, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_SETTIMEOFDAY,
		unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_VHANGUP,
		unix.SYS_FANOTIFY_INIT, unix.SYS_SYSLOG, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME}) {
		list = append(list, call{nr, []insn{fail(unix.EPERM)}})
	}
	// clone3 hides its flags in memory; the C library falls back to clone
	for _, nr := range []uint32{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_CLONE3} {
		list = append(list, call{nr, []insn{fail(unix.ENOSYS)}})
	}
	// PID 1 has the command's uid: it must not be signalled, nor lose its limits, which all later commands inherit.
	// (Its threads have numbers that cannot be known here, so prlimit is for oneself only.)
	for _, nr := range []uint32{unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_TGKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_PIDFD_OPEN} {
		list = append(list, call{nr, among(0, true, unix.EPERM, 1)})
	}
	list = append(list,
		call{unix.SYS_PRLIMIT64, among(0, false, unix.EPERM, 0)},
		call{unix.SYS_CLONE, []insn{argument(0), {Code: bpfSet, K: cloneNew, Jf: 1}, fail(unix.EPERM), allow}},
		call{unix.SYS_IOCTL, among(1, true, unix.EPERM, unix.TIOCSTI, unix.TIOCLINUX)},
		// a network namespace holds neither AF_VSOCK (a virtual machine's host) nor AF_ALG
		call{unix.SYS_SOCKET, among(0, false, unix.EAFNOSUPPORT, unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK)})
	slices.SortFunc(list, func(a, b call) int { return int(a.nr) - int(b.nr) })
	return list
}

// program is a search tree: the kernel also tries each number on it to learn which are always allowed, and never
// filters those again. With ask it asks the mover about renames.
func program(ask bool) []insn {
	head := []insn{{Code: bpfLoad, K: 4}, {Code: bpfEqual, K: archAudit, Jt: 1}, {Code: bpfReturn, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: bpfLoad, K: 0}, {Code: bpfGE, K: 0x40000000, Jf: 1}, fail(unix.ENOSYS)} // x32
	list := denied()
	if ask {
		for _, nr := range renames {
			list = append(list, call{nr, []insn{{Code: bpfReturn, K: unix.SECCOMP_RET_USER_NOTIF}}})
		}
		slices.SortFunc(list, func(a, b call) int { return int(a.nr) - int(b.nr) })
	}
	return append(head, search(list)...)
}

func search(list []call) []insn {
	if len(list) == 1 {
		return append([]insn{{Code: bpfEqual, K: list[0].nr, Jt: 1}, allow}, list[0].code...)
	}
	mid := len(list) / 2
	low, high := search(list[:mid]), search(list[mid:])
	if len(low) < 256 {
		return slices.Concat([]insn{{Code: bpfGE, K: list[mid].nr, Jt: uint8(len(low))}}, low, high)
	}
	return slices.Concat([]insn{{Code: bpfGE, K: list[mid].nr, Jf: 1}, {Code: bpfJump, K: uint32(len(low))}}, low, high)
}

// seccomp installs the deny list on the calling thread. It takes the kernel 0.1 ms, so not per command. With ask it
// returns the descriptor by which a mover is asked about renames, or -1 where that cannot be: a kernel before 5.19, or
// somebody around us who listens already.
func seccomp(ask bool) (listener int, err error) {
	if ask {
		const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
		if fd, errno := install(program(true), flags); errno == 0 {
			return fd, nil
		}
	}
	if _, errno := install(program(false), 0); errno != 0 {
		return -1, fmt.Errorf("seccomp: %w", errno)
	}
	return -1, nil
}

func install(p []insn, flags uintptr) (int, unix.Errno) {
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	return int(r), errno
}
