package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const quiet = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// option is one parameter of a file system; with an empty value it is a flag.
type option struct{ key, value string }

// mountNew makes a detached mount of a new file system and returns its descriptor.
func mountNew(fstype string, attr int, opts ...option) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("%s: fsopen: %w", fstype, err)
	}
	defer unix.Close(fs)
	for _, o := range opts {
		if o.value == "" {
			err = unix.FsconfigSetFlag(fs, o.key)
		} else {
			err = setString(fs, o.key, o.value)
		}
		if err != nil {
			return -1, fmt.Errorf("%s: %s=%s: %w%s", fstype, o.key, o.value, err, kernelLog(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("%s: create: %w%s", fstype, err, kernelLog(fs))
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return -1, fmt.Errorf("%s: fsmount: %w%s", fstype, err, kernelLog(fs))
	}
	return m, nil
}

// setString sets a parameter. The kernel takes at most 255 bytes and some versions treat backslashes in paths as
// escapes: such a path goes by the name of a descriptor instead.
func setString(fs int, key, value string) error {
	if value[0] == '/' && (len(value) > 255 || strings.Contains(value, `\`)) {
		d, err := unix.Open(value, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(d)
		value = "/proc/self/fd/" + strconv.Itoa(d)
	}
	return unix.FsconfigSetString(fs, key, value)
}

// kernelLog is what the kernel has to say about a failed mount.
func kernelLog(fs int) string {
	var b [1024]byte
	var out strings.Builder
	for {
		n, err := unix.Read(fs, b[:])
		if err != nil || n <= 0 {
			return out.String()
		}
		out.WriteString("; " + strings.TrimSpace(string(b[:n])))
	}
}

// attach puts a detached mount at path below dir and closes its descriptor.
func attach(m, dir int, path string) error {
	defer unix.Close(m)
	if err := unix.MoveMount(m, "", dir, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount on %s: %w", path, err)
	}
	return nil
}

// cloneTree makes a detached copy of the mounts at path below dir, with attributes set on all of them.
func cloneTree(dir int, path string, attr uint64) (int, error) {
	m, err := unix.OpenTree(dir, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, fmt.Errorf("clone %s: %w", path, err)
	}
	err = unix.MountSetattr(m, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attr})
	if err != nil {
		unix.Close(m)
		return -1, fmt.Errorf("attributes of %s: %w", path, err)
	}
	return m, nil
}

// Places of PID 1's own that overlays are made with.
const (
	hideDir = "/sys/hide" // holds a directory of whiteouts for each list in Overlay.Hide
	baseDir = "/sys/base" // where the lowest layer stands while it is used
)

// mountOverlay makes a detached overlay. volatile is a must on a disk: without it every unmount writes out the whole
// host file system. In memory there is nothing to write out, and its marks would be two more directories each time.
//
// The kernel refuses a lower layer that lies inside another one, and layers are kept inside the workspace. So where
// there are such, the workspace comes in as an overlay of its own, which has another root: under is its mount (else
// -1). It is made anew each time: a kept one would go on showing files that were replaced since.
func mountOverlay(o *Overlay) (m, under int, err error) {
	under = -1
	last := len(o.Lower) - 1
	above, base := o.Lower[:last], o.Lower[last:]
	if len(o.Hide) > 0 {
		hide := hideDir + "/" + strings.Join(o.Hide, ":")
		if err := os.Mkdir(hide, 0o755); err == nil {
			for _, name := range o.Hide {
				if err := unix.Mknod(hide+"/"+name, unix.S_IFCHR, 0); err != nil {
					return -1, -1, fmt.Errorf("hide %s: %w", name, err)
				}
			}
		} else if !errors.Is(err, fs.ErrExist) {
			return -1, -1, err
		}
		base = []string{hide, o.Lower[last]}
	}
	if slices.ContainsFunc(above, func(l string) bool { return strings.HasPrefix(l, o.Lower[last]+"/") }) {
		if len(base) == 1 {
			base = append([]string{hideDir}, base...) // a read-only overlay has two layers at least
		}
		if under, err = mountNew("overlay", quiet|unix.MOUNT_ATTR_RDONLY, lowers(base)...); err != nil {
			return -1, -1, err
		}
		if err := unix.MoveMount(under, "", unix.AT_FDCWD, baseDir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return -1, -1, fmt.Errorf("mount on %s: %w", baseDir, err)
		}
		base = []string{baseDir}
	}
	opts := append(lowers(slices.Concat(above, base)), option{"upperdir", o.Upper}, option{"workdir", o.Work})
	if !o.InMemory {
		opts = append(opts, option{"volatile", ""})
	}
	m, err = mountNew("overlay", quiet, opts...)
	return m, under, err
}

func lowers(dirs []string) []option {
	opts := make([]option, 0, len(dirs)+4)
	opts = append(opts, option{"userxattr", ""})
	for _, d := range dirs {
		opts = append(opts, option{"lowerdir+", d})
	}
	return opts
}
