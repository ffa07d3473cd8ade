package sws

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// room is a place where layers lie: the set's directory, or one in memory. A layer costs several inodes that live for a
// second; where file systems take long to make and to remove them, memory is three times as fast. Nothing that must
// outlive the process is ever kept there: what is held goes to the store, what collapses is copied to the disk.
type room struct {
	path   string
	dir    dirfd
	memory bool
	full   atomic.Bool // it was found without room once: what fails in it may have failed for that
}

func (r *room) mkdir(p string) error { return pathError(p, unix.Mkdirat(r.dir.fd, p, 0o755)) }

func (r *room) rename(from, to string) error {
	return pathError(from, unix.Renameat(r.dir.fd, from, r.dir.fd, to))
}

// memoryFS is where Linux has memory for files, shared by all processes of the machine and never swept by others.
const memoryFS = "/dev/shm"

// Limits of what is put into memory: a quarter of what the machine sets aside for such files, and no more once less than
// half a GiB of that is free, so that small ones, as containers have, are never used. A command at whose end less than
// noRoom is left may have met a full one.
const (
	memoryLeast = 512 << 20
	noRoom      = 32 << 20
)

// roomFor gives the room for the next layer: memory while there is plenty of it.
func (set *Set) roomFor() *room {
	set.mu.Lock()
	defer set.mu.Unlock()
	if !set.asked {
		set.asked = true
		set.memory = set.space.enterMemory()
	}
	if m := set.memory; m != nil && !m.full.Load() {
		if total, free, ok := m.size(); ok && free >= set.space.memoryLeast && free >= total-total/4 {
			return m
		}
	}
	return set.disk
}

func (r *room) size() (total, free uint64, ok bool) {
	var st unix.Statfs_t
	if unix.Fstatfs(r.dir.fd, &st) != nil {
		return 0, 0, false
	}
	return st.Blocks * uint64(st.Bsize), st.Bavail * uint64(st.Bsize), true
}

// isFull says that a command may have wanted more room than there was, whatever its exit code. It stays so: what filled
// the room may be gone by the time that another command, which failed for it, asks.
func (r *room) isFull() bool {
	if _, free, ok := r.size(); ok && free < noRoom {
		r.full.Store(true)
	}
	return r.full.Load()
}

// memoryDir opens the directory in memory that is this user's alone. ok is false where there is none that serves.
func (s *Space) memoryDir() (d dirfd, path string, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(s.memoryFS, &st) != nil || st.Type != unix.TMPFS_MAGIC || st.Flags&(unix.ST_NOEXEC|unix.ST_RDONLY) != 0 {
		return d, "", false
	}
	path = fmt.Sprintf("%s/jitos-%d", s.memoryFS, os.Geteuid())
	if err := unix.Mkdir(path, 0o700); err != nil && err != unix.EEXIST {
		return d, "", false
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return d, "", false
	}
	var own unix.Stat_t
	if unix.Fstat(fd, &own) != nil || own.Uid != uint32(os.Geteuid()) || own.Mode&0o077 != 0 || unix.Fsetxattr(fd, "user.jitos", nil, 0) != nil {
		unix.Close(fd)
		return d, "", false
	}
	return dirfd{fd, ours}, path, true
}

// lockMemory is memoryDir locked: nobody takes a room for dead that has not been locked yet. Closing unlocks.
func (s *Space) lockMemory() (d dirfd, path string, ok bool) {
	if d, path, ok = s.memoryDir(); !ok {
		return d, "", false
	}
	if _, err := retry(func() (int, error) { return 0, unix.Flock(d.fd, unix.LOCK_EX) }); err != nil {
		d.close()
		return d, "", false
	}
	return d, path, true
}

// enterMemory makes a room in memory, locked as long as it is used; nil where that cannot be. Its name says nothing:
// workspaces in different containers may have one path and share memory.
func (s *Space) enterMemory() *room {
	parent, path, ok := s.lockMemory()
	if !ok {
		return nil
	}
	defer parent.close()
	name, err := os.MkdirTemp(path, "")
	if err != nil {
		return nil
	}
	d, err := parent.sub(filepath.Base(name))
	if err != nil {
		return nil
	}
	if unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		d.close()
		return nil
	}
	return &room{path: name, dir: d, memory: true}
}

// leaveMemory gives the set's room in memory back, in the background.
func (set *Set) leaveMemory() {
	set.mu.Lock()
	m := set.memory
	set.memory, set.asked = nil, true
	set.mu.Unlock()
	if m == nil {
		return
	}
	if parent, _, ok := set.space.memoryDir(); ok {
		set.space.buryRooms(parent, map[string]dirfd{filepath.Base(m.path): m.dir})
	} else {
		m.dir.close()
	}
}

// sweepMemory removes the rooms in memory that nobody uses any more, of whatever workspace: that may never be opened again.
func (s *Space) sweepMemory() error {
	parent, _, ok := s.lockMemory()
	if !ok {
		return nil
	}
	list, err := names(parent.fd)
	if err != nil {
		parent.close()
		return pathError(s.memoryFS, err)
	}
	dead := map[string]dirfd{}
	for _, n := range list {
		d, err := parent.sub(n)
		if err != nil {
			continue // it went in this moment
		}
		if unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
			d.close()
			continue
		}
		dead[n] = d
	}
	unix.Flock(parent.fd, unix.LOCK_UN)
	s.buryRooms(parent, dead)
	return nil
}

// buryRooms removes rooms in the background. They stay locked till they are gone, so that nobody else does it too.
func (s *Space) buryRooms(parent dirfd, rooms map[string]dirfd) {
	s.background.Go(func() {
		defer parent.close()
		for n, d := range rooms { // order: each is independent
			if err := parent.removeSet(n); err != nil {
				s.late(err)
			}
			d.close()
		}
	})
}
