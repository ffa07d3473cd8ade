package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// What runner and slot say to each other: frames of a length (4 bytes), a kind (1 byte) and a body. The runner
// sends setup once, then run; while a command runs it may send term and kill, which mean nothing at other times (a
// command may end while they are on their way). The slot answers setup and run with one answer each.
const (
	frameSetup  = 's'
	frameRun    = 'r'
	frameTerm   = 't'
	frameKill   = 'k'
	frameAnswer = 'a'
	frameRetire = 'x' // after an answer: the slot could not be cleaned and ends; what was sent since is not done
)

// setup is what a slot must know from the start.
type setup struct {
	mode      int64
	net       bool // the host's network
	workspace string
	home      string // the user's own, masked; may be empty
	hide      []string
	writable  []string
	temp      string // Plain: private directory for HOME and TMPDIR
}

// answer is the end of setup or of a command.
type answer struct {
	failed   string // why the sandbox could not do it
	status   int64  // wait status
	notFound bool
	noExec   bool // found, but execve refused it
	left     int64
	maxRSS   int64 // bytes
}

// wire is a body being written or read: one description of each message serves both ways.
type wire struct {
	b       []byte
	reading bool
	bad     bool
}

func (w *wire) num(n *int64) {
	if !w.reading {
		w.b = binary.AppendVarint(w.b, *n)
		return
	}
	v, k := binary.Varint(w.b)
	if k <= 0 {
		w.bad, w.b = true, nil
		return
	}
	*n, w.b = v, w.b[k:]
}

func (w *wire) flag(f *bool) {
	n := int64(0)
	if *f {
		n = 1
	}
	w.num(&n)
	*f = n != 0
}

func (w *wire) str(s *string) {
	n := int64(len(*s))
	w.num(&n)
	if !w.reading {
		w.b = append(w.b, *s...)
		return
	}
	if n < 0 || n > int64(len(w.b)) {
		w.bad, w.b = true, nil
		return
	}
	*s, w.b = string(w.b[:n]), w.b[n:]
}

func list[T any](w *wire, l *[]T, item func(*T)) {
	n := int64(len(*l))
	w.num(&n)
	if w.reading {
		if n < 0 || n > int64(len(w.b)) { // every item has a byte at least
			w.bad, w.b = true, nil
			return
		}
		*l = make([]T, n)
	}
	for i := range *l {
		item(&(*l)[i])
	}
}

func (w *wire) strs(l *[]string) { list(w, l, w.str) }

func (s *setup) wire(w *wire) {
	w.num(&s.mode)
	w.flag(&s.net)
	w.str(&s.workspace)
	w.str(&s.home)
	w.strs(&s.hide)
	w.strs(&s.writable)
	w.str(&s.temp)
}

func (c *Command) wire(w *wire) {
	w.strs(&c.Argv)
	w.strs(&c.Env)
	w.str(&c.Dir)
	w.str(&c.Stdin)
	over := c.Overlay != nil
	if w.flag(&over); over {
		if w.reading {
			c.Overlay = &Overlay{}
		}
		w.strs(&c.Overlay.Lower)
		w.strs(&c.Overlay.Hide)
		w.str(&c.Overlay.Upper)
		w.str(&c.Overlay.Work)
		w.flag(&c.Overlay.InMemory)
	}
	list(w, &c.Binds, func(b *Bind) { w.str(&b.From); w.str(&b.To); w.flag(&b.Write) })
	w.flag(&c.Unmount)
}

func (a *answer) wire(w *wire) {
	w.str(&a.failed)
	w.num(&a.status)
	w.flag(&a.notFound)
	w.flag(&a.noExec)
	w.num(&a.left)
	w.num(&a.maxRSS)
}

// read decodes a body; it must be exactly one message.
func read(body []byte, m interface{ wire(*wire) }) error {
	w := &wire{b: body, reading: true}
	m.wire(w)
	if w.bad || len(w.b) != 0 {
		return errors.New("malformed message")
	}
	return nil
}

// send writes one frame with descriptors. m may be nil.
func send(sock int, kind byte, m interface{ wire(*wire) }, fds ...int) error {
	w := &wire{b: []byte{0, 0, 0, 0, kind}}
	if m != nil {
		m.wire(w)
	}
	binary.LittleEndian.PutUint32(w.b, uint32(len(w.b)-5))
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for b := w.b; len(b) > 0; rights = nil {
		n, err := unix.SendmsgN(sock, b, rights, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// errGone says that the other side has closed its end.
var errGone = errors.New("the other side is gone")

// receive reads one frame and the descriptors that came with it.
func receive(sock int) (kind byte, body []byte, fds []int, err error) {
	var head [5]byte
	var oob [64]byte
	got := 0
	for got < len(head) {
		n, on, _, _, err := unix.Recvmsg(sock, head[got:], oob[:], unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return 0, nil, fds, errors.Join(errGone, err)
		}
		if on > 0 {
			if fds, err = rights(oob[:on]); err != nil {
				return 0, nil, nil, err
			}
		}
		got += n
	}
	body = make([]byte, binary.LittleEndian.Uint32(head[:]))
	for b := body; len(b) > 0; {
		n, err := unix.Read(sock, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return 0, nil, fds, errors.Join(errGone, err)
		}
		b = b[n:]
	}
	return head[4], body, fds, nil
}

func rights(oob []byte) (fds []int, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range msgs {
		if fds, err = unix.ParseUnixRights(&m); err != nil || len(fds) > 0 {
			return fds, err
		}
	}
	return nil, fmt.Errorf("%d control messages, no descriptor", len(msgs))
}
