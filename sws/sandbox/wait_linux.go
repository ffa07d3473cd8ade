package sandbox

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waiter waits for one of several descriptors without keeping a thread in a system call: a blocked call keeps the
// runtime's monitor awake, and every way back from it wakes another thread, which costs a short command a third of
// its time.
type waiter struct {
	ep   int // owned by file
	file *os.File
	raw  syscall.RawConn
}

func newWaiter() (*waiter, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil { // else the runtime would not poll it
		return nil, errors.Join(err, unix.Close(ep))
	}
	w := &waiter{ep: ep, file: os.NewFile(uintptr(ep), "epoll")}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, w.file.Close())
	}
	return w, nil
}

// add watches fd until it is closed or dropped.
func (w *waiter) add(fd int) error {
	err := unix.EpollCtl(w.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

func (w *waiter) drop(fd int) error {
	if err := unix.EpollCtl(w.ep, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// until sets when wait gives up; the zero time is never. It may be called while another goroutine waits.
func (w *waiter) until(t time.Time) error { return w.file.SetReadDeadline(t) }

// wait returns descriptors that can be read (or have ended), or os.ErrDeadlineExceeded.
func (w *waiter) wait(ready []int) ([]int, error) {
	var events [4]unix.EpollEvent
	var n int
	var failed error
	err := w.raw.Read(func(fd uintptr) bool {
		for {
			n, failed = unix.EpollWait(int(fd), events[:], 0)
			if failed != unix.EINTR {
				return n != 0 || failed != nil
			}
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	ready = ready[:0]
	for _, e := range events[:n] {
		ready = append(ready, int(e.Fd))
	}
	return ready, nil
}

func (w *waiter) close() error { return w.file.Close() }
