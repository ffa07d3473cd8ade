package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/warp/history"
)

// Finding is what Doctor says of one thing.
type Finding struct {
	Name   string
	OK     bool
	Detail string
	Fix    string // what to do, if it is not OK
}

// Doctor looks at what this machine and this workspace allow, and how to get the rest. Nothing is changed.
func Doctor(ctx context.Context, o Options) []Finding {
	o.Here = true
	w, err := Open(o)
	if err != nil {
		return []Finding{{Name: "directory", Detail: err.Error()}}
	}
	if above, err := Open(Options{Dir: o.Dir}); err == nil {
		w = above
	}
	out := []Finding{{Name: "platform", OK: runtime.GOOS == "linux", Detail: runtime.GOOS + "/" + runtime.GOARCH + " " + kernel(),
		Fix: "full isolation needs Linux"}}
	out = append(out, w.isolation(), w.historyHealth(), writable("store", w.meta("")), writable("caches", cacheDir()))
	sh, ok := lookPath("sh")
	return append(out, Finding{Name: "sh", OK: ok, Detail: sh, Fix: "tasks with `run` need it on PATH"})
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (w *Workspace) isolation() Finding {
	f := Finding{Name: "isolation", OK: true, Detail: "overlay in user namespaces: steps see a shadow of the workspace at its own path"}
	if err := w.probe(); err != nil {
		f.OK, f.Detail = false, "only copies: "+err.Error()
		f.Fix = "allow unprivileged user namespaces"
		if b, err := os.ReadFile("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"); err == nil && strings.TrimSpace(string(b)) == "1" {
			f.Fix = "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu denies them by AppArmor)"
		} else if b, err := os.ReadFile("/proc/sys/user/max_user_namespaces"); err == nil && strings.TrimSpace(string(b)) == "0" {
			f.Fix = "sudo sysctl user.max_user_namespaces=15000"
		}
	}
	return f
}

func (w *Workspace) historyHealth() Finding {
	f := Finding{Name: "history", Fix: repairHint}
	r, err := history.OpenReader(w.meta("history"))
	if err == nil {
		var n uint64
		if n, err = r.Verify(); err == nil {
			f.OK, f.Detail = true, fmt.Sprintf("%d events, the chain holds", n)
			return f
		}
	}
	if f.Detail = err.Error(); errors.Is(err, fs.ErrPermission) {
		f.Fix = reachHint
	}
	return f
}

// writable says whether something can be made in dir, or in the nearest directory above it that exists.
func writable(name, dir string) Finding {
	at := dir
	for {
		_, err := os.Stat(at)
		if !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	f := Finding{Name: name, OK: true, Detail: dir}
	if err := unix.Access(at, unix.W_OK); err != nil {
		f.OK, f.Detail, f.Fix = false, fmt.Sprintf("%s: %s cannot be written: %v", dir, at, err), "make it writable"
	}
	var st unix.Statfs_t
	if unix.Statfs(at, &st) == nil {
		free := int64(st.Bavail) * int64(st.Bsize)
		f.Detail += ", " + size(free) + " free"
		if free < 100_000_000 {
			f.OK, f.Fix = false, "make room: a run that finds the disk full fails (and changes nothing)"
		}
	}
	return f
}
