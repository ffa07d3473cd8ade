package sws

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/warp/cas"
)

// scan reads what a command did from the upper directory of its overlay: the difference to the view it ran over.
// Traps it knows: whiteouts in both forms; a directory inside an opaque one, which is opaque without a mark; files
// copied up but not changed; a directory that was only passed through; permissions taken away; names that are any bytes,
// and paths longer than the kernel takes.
func scan(upper dirfd, v *View) ([]Change, error) {
	s := scanner{view: v, upper: upper}
	if err := s.dir(upper.fd, "", false); err != nil {
		return nil, err
	}
	if err := s.contents(); err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(s.changes, func(c Change) bool { return c.Path == "" })
	slices.SortFunc(out, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return out, nil
}

type scanner struct {
	view    *View
	upper   dirfd
	changes []Change // those with an empty path turned out to be none
	files   []content
	bytes   int64
}

// content is a file that is still to be read.
type content struct {
	change int
	path   string
	low    Entry  // what the view has there; of files in the base without a digest
	from   *Layer // nil: the base
}

func getxattr(fd int, name string) string {
	var b [16]byte
	n, err := unix.Fgetxattr(fd, name, b[:])
	if err != nil && err != unix.ERANGE {
		return ""
	}
	if n == 0 || err != nil {
		return "set"
	}
	return string(b[:n])
}

func (s *scanner) dir(fd int, dir string, opaque bool) error {
	list, err := names(fd)
	if err != nil {
		return pathError(dir, err)
	}
	if opaque {
		low, err := s.view.names(dir)
		if err != nil {
			return err
		}
		for _, n := range low {
			if _, ok := slices.BinarySearch(list, n); !ok {
				s.changes = append(s.changes, Change{Path: join(dir, n)})
			}
		}
	}
	for _, n := range list {
		if err := s.name(fd, n, join(dir, n), opaque); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) name(fd int, name, p string, opaque bool) error {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError(p, err)
	}
	up := fingerprint(&st)
	low, from, err := s.view.find(p)
	if err != nil {
		return err
	}
	gone := st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
	if up.Kind == File && up.Size == 0 {
		if gone, err = whiteoutFile(fd, name); err != nil {
			return pathError(p, err)
		}
	}
	if gone {
		if low.Kind != Absent {
			s.changes = append(s.changes, Change{Path: p})
		}
		return nil
	}
	if err := valid(p); err != nil {
		return err
	}
	c := Change{Path: p, After: Entry{Kind: up.Kind, Mode: up.Mode}}
	switch up.Kind {
	case File:
		c.After.Size = up.Size
		s.files = append(s.files, content{len(s.changes), p, low, from})
		s.changes = append(s.changes, c)
		s.bytes += up.Size
	case Link:
		target, err := readlinkAt(fd, name)
		if err != nil {
			return pathError(p, err)
		}
		c.After = linkTo(target)
		if low.Kind == Link && from == nil {
			low, err = s.view.Entry(p)
			if err != nil && !errors.Is(err, ErrChanged) {
				return err
			}
		}
		if low != c.After {
			s.changes = append(s.changes, c)
		}
	case Dir:
		return s.subdir(fd, name, up, c, low, opaque)
	default:
		return &RefusedError{Path: p, Why: "a " + special(st.Mode) + " cannot be part of a change"}
	}
	return nil
}

func linkTo(target string) Entry {
	return Entry{Kind: Link, Target: target, Digest: cas.Sum([]byte(target))}
}

func special(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	}
	return "device"
}

// whiteoutFile tells whether an empty file stands for a deleted path.
func whiteoutFile(fd int, name string) (bool, error) {
	h, err := openLent(fd, name)
	if err != nil {
		return false, err
	}
	defer unix.Close(h)
	return getxattr(h, "user.overlay.whiteout") != "", nil
}

func (s *scanner) subdir(fd int, name string, up Fingerprint, c Change, low Entry, opaque bool) error {
	return s.lent(fd, name, up, func(h int) error {
		if getxattr(h, "user.overlay.redirect") != "" {
			return &RefusedError{Path: c.Path, Why: "the overlay redirects this directory"}
		}
		opaque = opaque || getxattr(h, "user.overlay.opaque") == "y"
		c.ModeOnly = low.Kind == Dir
		if low != c.After {
			s.changes = append(s.changes, c)
		}
		return s.dir(h, c.Path, opaque && low.Kind == Dir)
	})
}

// lent runs f on an open directory. If the command shut itself out of it, it gets its owner's permissions until all
// below it has been read.
func (s *scanner) lent(fd int, name string, fp Fingerprint, f func(h int) error) (err error) {
	if fp.Mode&0o500 != 0o500 && os.Geteuid() != 0 {
		if err := chmodAt(fd, name, fp.Ino, fp.Mode|0o700); err != nil {
			return err
		}
		waiting := s.files
		s.files = nil
		defer func() {
			err = errors.Join(err, s.digest(s.files), chmodAt(fd, name, fp.Ino, fp.Mode))
			s.files = waiting
		}()
	}
	h, err := retry(func() (int, error) {
		return unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return pathError(name, err)
	}
	defer unix.Close(h)
	return f(h)
}

// contents digests the files that were found, and drops those that turn out not to have changed. It shares the work
// between two goroutines if there is enough of it.
func (s *scanner) contents() error {
	if len(s.files) < 64 && s.bytes < 1<<20 {
		return s.digest(s.files)
	}
	var first, second error
	at := 0
	for n := int64(0); at < len(s.files) && n < s.bytes/2+int64(len(s.files))*1024; at++ {
		n += s.changes[s.files[at].change].After.Size + 2048
	}
	var wg sync.WaitGroup
	wg.Go(func() { first = s.digest(s.files[:at]) })
	second = s.digest(s.files[at:])
	wg.Wait()
	return errors.Join(first, second)
}

func (s *scanner) digest(files []content) error {
	at := cursor{dirfd: s.upper}
	defer at.close()
	buf := s.view.base.bufs.Get().(*[]byte)
	defer s.view.base.bufs.Put(buf)
	for _, f := range files {
		c := &s.changes[f.change]
		fd, name, err := at.parent(f.path)
		if err != nil {
			return err
		}
		h, err := openLent(fd, name)
		if err != nil {
			return pathError(f.path, err)
		}
		if getxattr(h, "user.overlay.metacopy") != "" {
			err = &RefusedError{Path: f.path, Why: "the overlay holds only its metadata"}
		} else if c.After.Digest, err = hashFD(h, *buf); err != nil {
			err = pathError(f.path, err)
		}
		unix.Close(h)
		if err != nil {
			return err
		}
		if f.low.Kind != File || f.low.Size != c.After.Size {
			continue
		}
		if f.from == nil { // reads the base only now that the sizes are equal
			if f.low, _, err = s.view.base.Entry(f.path); errors.Is(err, ErrChanged) {
				continue
			} else if err != nil {
				return err
			}
		}
		switch {
		case f.low == c.After:
			c.Path = ""
		case f.low.sameContent(c.After):
			c.ModeOnly = true
		}
	}
	return nil
}
