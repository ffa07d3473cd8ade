package sws

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/warp/cas"
)

// room is a place where layers lie: the set's directory, or one in memory. A layer costs several inodes that live for a
// second; where file systems take long to make and to remove them, memory is three times as fast. Nothing that must
// outlive the process is ever kept there: what is held goes to the store, what collapses is copied to the disk.
type room struct {
	path   string
	dir    dirfd
	memory bool
}

func (r *room) mkdir(p string) error { return pathError(p, unix.Mkdirat(r.dir.fd, p, 0o755)) }

func (r *room) rename(from, to string) error {
	return pathError(from, unix.Renameat(r.dir.fd, from, r.dir.fd, to))
}

// memoryFS is where Linux has memory for files, shared by all processes of the machine and never swept by others.
const memoryFS = "/dev/shm"

// Limits of what is put into memory: a quarter of what the machine sets aside for such files, and no more once less than
// half of that is free; a command that failed with less than noRoom left failed for that reason.
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
		set.memory = set.space.enterMemory(set.id)
	}
	if m := set.memory; m != nil {
		if total, free, ok := m.size(); ok && free >= memoryLeast && free >= total-total/4 {
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

// full says that a command may have failed for want of room.
func (r *room) full() bool {
	_, free, ok := r.size()
	return ok && free < noRoom
}

// memoryName begins the names of this workspace's rooms in memory.
func (s *Space) memoryName() string { return cas.Sum([]byte(s.path)).String()[:16] + "-" }

// memoryDir opens the directory in memory that is this user's alone. ok is false where there is none that serves.
func memoryDir() (d dirfd, path string, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(memoryFS, &st) != nil || st.Type != unix.TMPFS_MAGIC || st.Flags&(unix.ST_NOEXEC|unix.ST_RDONLY) != 0 {
		return d, "", false
	}
	path = fmt.Sprintf("%s/jitos-%d", memoryFS, os.Geteuid())
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

// enterMemory makes a room in memory for a set; nil where that cannot be.
func (s *Space) enterMemory(id int) *room {
	parent, path, ok := memoryDir()
	if !ok {
		return nil
	}
	defer parent.close()
	name := s.memoryName() + strconv.Itoa(id)
	if parent.removeAll(name) != nil || unix.Mkdirat(parent.fd, name, 0o700) != nil {
		return nil
	}
	d, err := parent.sub(name)
	if err != nil {
		return nil
	}
	if unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		d.close()
		return nil
	}
	return &room{path: path + "/" + name, dir: d, memory: true}
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
	m.dir.close()
	if parent, _, ok := memoryDir(); ok {
		set.space.bury(parent, []string{m.path[strings.LastIndexByte(m.path, '/')+1:]})
	}
}

// sweepMemory removes the rooms in memory of runs of this workspace that are no more.
func (s *Space) sweepMemory() error {
	parent, _, ok := memoryDir()
	if !ok {
		return nil
	}
	list, err := names(parent.fd)
	if err != nil {
		parent.close()
		return pathError(memoryFS, err)
	}
	var dead []string
	for _, n := range list {
		if !strings.HasPrefix(n, s.memoryName()) {
			continue
		}
		d, err := parent.sub(n)
		if err != nil {
			continue // somebody else is at it
		}
		if unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
			dead = append(dead, n)
		}
		d.close()
	}
	s.bury(parent, dead)
	return nil
}
