package plan

import (
	"cmp"
	"io"
	"slices"
	"strings"
)

// Secret is a value that nobody may see. Shown stands in its place: "(secret deploy)".
type Secret struct{ Shown, Value string }

// Mask hides secrets in whatever is shown or kept. nil hides nothing.
type Mask struct {
	secrets []Secret  // the longest first
	first   [256]bool // bytes that one begins with
}

// NewMask hides these; nil if there are none.
func NewMask(list []Secret) *Mask {
	if len(list) == 0 {
		return nil
	}
	m := &Mask{secrets: slices.Clone(list)}
	slices.SortFunc(m.secrets, func(a, b Secret) int {
		return cmp.Or(cmp.Compare(len(b.Value), len(a.Value)), strings.Compare(a.Value, b.Value), strings.Compare(a.Shown, b.Shown))
	})
	for _, s := range m.secrets {
		m.first[s.Value[0]] = true
	}
	return m
}

// Text is s with what stands in place of the secrets.
func (m *Mask) Text(s string) string {
	if m == nil {
		return s
	}
	out, _ := m.hide(s, true)
	return out
}

// Find names a secret that is in s, "" if none is.
func (m *Mask) Find(s string) string {
	if m == nil {
		return ""
	}
	for _, x := range m.secrets {
		if strings.Contains(s, x.Value) {
			return x.Shown
		}
	}
	return ""
}

// Search names a secret that is in what r gives, "" if none is.
func (m *Mask) Search(r io.Reader) (string, error) {
	if m == nil {
		return "", nil
	}
	longest := len(m.secrets[0].Value)
	buf := make([]byte, max(64<<10, 2*longest))
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		if what := m.Find(string(buf[:kept+n])); what != "" {
			return what, nil
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		kept = copy(buf, buf[kept+n-longest+1:kept+n])
	}
}

// hide also returns the end of s in which a secret may begin that goes on in what follows; none if that is all.
func (m *Mask) hide(s string, all bool) (out, rest string) {
	var b strings.Builder
	from := 0
	for i := 0; i < len(s); {
		if !m.first[s[i]] {
			i++
			continue
		}
		var hit *Secret
		open := false // a longer one may be beginning here
		for n := range m.secrets {
			x := &m.secrets[n]
			if open = !all && len(x.Value) > len(s)-i && strings.HasPrefix(x.Value, s[i:]); open {
				break
			}
			if strings.HasPrefix(s[i:], x.Value) {
				hit = x
				break
			}
		}
		switch {
		case open:
			b.WriteString(s[from:i])
			return b.String(), s[i:]
		case hit == nil:
			i++
		default:
			b.WriteString(s[from:i])
			b.WriteString(hit.Shown)
			i += len(hit.Value)
			from = i
		}
	}
	b.WriteString(s[from:])
	return b.String(), ""
}

// Writer hides secrets in what is written through it, also where one comes in pieces. Close writes what was held back
// until the next piece would have come; w stays open.
func (m *Mask) Writer(w io.Writer) io.WriteCloser { return &maskWriter{m: m, w: w} }

type maskWriter struct {
	m    *Mask
	w    io.Writer
	rest string
}

func (w *maskWriter) Write(p []byte) (int, error) {
	if w.m == nil {
		return w.w.Write(p)
	}
	out, rest := w.m.hide(w.rest+string(p), false)
	w.rest = rest
	if out == "" {
		return len(p), nil
	}
	if _, err := io.WriteString(w.w, out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *maskWriter) Close() error {
	if w.rest == "" {
		return nil
	}
	out, _ := w.m.hide(w.rest, true)
	w.rest = ""
	_, err := io.WriteString(w.w, out)
	return err
}
