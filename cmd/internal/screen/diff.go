package screen

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/flyingrobots/jitos/runner"
)

// diffLimit bounds the size of a file that is compared line by line: above it nobody reads the answer.
const diffLimit = 4 << 20

// File is one path on both sides of a change. The readers are called at most once, and only where both the content
// is a file's and it is to be shown.
type File struct {
	Path          string
	Before, After runner.Entry
	ReadBefore    func() ([]byte, error)
	ReadAfter     func() ([]byte, error)
}

// Diff writes what changed in a path: a unified diff for text, size and kind for anything else, and modes and links
// as words. Without colours its unified diffs are what patch(1) reads.
func Diff(w io.Writer, s Style, f File) error {
	var b strings.Builder
	if f.Before.Type == "dir" && f.After.Type == "" {
		fmt.Fprintf(&b, "%s %s/\n", s.Red("deleted directory"), Clean(f.Path))
	}
	if f.Before.Type == "" && f.After.Type == "dir" {
		fmt.Fprintf(&b, "%s %s/\n", s.Green("new directory"), Clean(f.Path))
	}
	if f.Before.Type != "" && f.After.Type != "" && f.Before.Mode != f.After.Mode {
		fmt.Fprintf(&b, "mode %s %o %s %o\n", Clean(f.Path), f.Before.Mode, s.Arrow(), f.After.Mode)
	}
	if f.Before.Type == "link" || f.After.Type == "link" {
		fmt.Fprintf(&b, "link %s: %s %s %s\n", Clean(f.Path), side(f.Before), s.Arrow(), side(f.After))
	}
	if f.Before.Type == "file" || f.After.Type == "file" {
		if err := content(&b, s, f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Diffs writes what changed in each of the files. A directory is told only where nothing in it tells of it, and a file that
// has another name now as that, in git's words, which patch(1) reads.
func Diffs(w io.Writer, s Style, files []File) error {
	renamed, files := renames(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(inTree(a.Path), inTree(b.Path)) })
	for i, f := range files {
		dir := f.Before.Type == "dir" || f.After.Type == "dir"
		if dir && i+1 < len(files) && strings.HasPrefix(files[i+1].Path, f.Path+"/") {
			continue
		}
		if err := Diff(w, s, f); err != nil {
			return err
		}
	}
	// Last: patch takes a text after git's words to be about the same file.
	for _, r := range renamed {
		text := fmt.Sprintf("%s\nsimilarity index 100%%\nrename from %s\nrename to %s\n",
			s.Bold(fmt.Sprintf("diff --git a/%s b/%s", Clean(r.from.Path), Clean(r.to.Path))), Clean(r.from.Path), Clean(r.to.Path))
		if r.from.Before.Mode != r.to.After.Mode {
			text += fmt.Sprintf("mode %s %o %s %o\n", Clean(r.to.Path), r.from.Before.Mode, s.Arrow(), r.to.After.Mode)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

type rename struct{ from, to File }

// renames takes the files out of a list that went under one name and came under another, by path. Where several have the
// same content the first goes with the first.
func renames(files []File) (out []rename, rest []File) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	gone := map[string][]int{} // by content
	for i, f := range files {
		if f.Before.Type == "file" && f.After.Type == "" && f.Before.Size > 0 {
			gone[string(f.Before.Digest)] = append(gone[string(f.Before.Digest)], i)
		}
	}
	moved := make([]bool, len(files))
	for i, f := range files {
		from := gone[string(f.After.Digest)]
		if f.Before.Type != "" || f.After.Type != "file" || len(from) == 0 {
			continue
		}
		gone[string(f.After.Digest)] = from[1:]
		moved[i], moved[from[0]] = true, true
		out = append(out, rename{files[from[0]], f})
	}
	for i, f := range files {
		if !moved[i] {
			rest = append(rest, f)
		}
	}
	return out, rest
}

func side(e runner.Entry) string {
	switch e.Type {
	case "":
		return "nothing"
	case "link":
		return Clean(e.LinksTo())
	case "file":
		return Size(e.Size)
	}
	return e.Type
}

func content(b *strings.Builder, s Style, f File) error {
	if f.Before.Type == f.After.Type && bytes.Equal(f.Before.Digest, f.After.Digest) && f.Before.Size == f.After.Size {
		return nil // the mode alone
	}
	before, after, text, err := f.texts()
	if err != nil {
		return err
	}
	if !text {
		fmt.Fprintf(b, "binary %s: %s %s %s%s\n", Clean(f.Path), side(f.Before), s.Arrow(), side(f.After), kind(after))
		return nil
	}
	from, to := "a/"+f.Path, "b/"+f.Path
	if f.Before.Type != "file" {
		from = "/dev/null"
	}
	if f.After.Type != "file" {
		to = "/dev/null"
	}
	unified, err := udiff.ToUnified(from, to, before, udiff.Lines(before, after), udiff.DefaultContextLines)
	if err != nil {
		return err
	}
	if unified == "" { // an empty file came or went
		fmt.Fprintf(b, "empty file %s: %s %s %s\n", Clean(f.Path), side(f.Before), s.Arrow(), side(f.After))
		return nil
	}
	if !s.Color {
		b.WriteString(unified)
		return nil
	}
	for line := range strings.Lines(unified) {
		line = Clean(strings.TrimSuffix(line, "\n"))
		switch {
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"):
			line = s.Bold(line)
		case strings.HasPrefix(line, "@@"):
			line = s.Dim(line)
		case strings.HasPrefix(line, "-"):
			line = s.Red(line)
		case strings.HasPrefix(line, "+"):
			line = s.Green(line)
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return nil
}

// texts reads both sides. text is false if one of them is no text, or too large to compare.
func (f File) texts() (before, after string, text bool, err error) {
	if f.Before.Size > diffLimit || f.After.Size > diffLimit {
		return "", "", false, nil
	}
	read := func(e runner.Entry, from func() ([]byte, error)) (string, error) {
		if e.Type != "file" || from == nil {
			return "", nil
		}
		raw, err := from()
		return string(raw), err
	}
	if before, err = read(f.Before, f.ReadBefore); err != nil {
		return "", "", false, err
	}
	if after, err = read(f.After, f.ReadAfter); err != nil {
		return "", "", false, err
	}
	return before, after, !binary(before) && !binary(after), nil
}

// binary guesses as git does.
func binary(t string) bool { return strings.IndexByte(t[:min(len(t), 8000)], 0) >= 0 }

// kind names a few kinds of file that builds make, by how they begin.
func kind(t string) string {
	for _, k := range []struct{ prefix, name string }{
		{"\x7fELF", "ELF"}, {"!<arch>\n", "ar archive"}, {"\x1f\x8b", "gzip"}, {"PK\x03\x04", "zip"},
		{"\x28\xb5\x2f\xfd", "zstd"}, {"\x89PNG", "PNG"}, {"%PDF", "PDF"}, {"\xcf\xfa\xed\xfe", "Mach-O"},
	} {
		if strings.HasPrefix(t, k.prefix) {
			return ", " + k.name
		}
	}
	return ""
}

// fold is how many files a directory that came or went as a whole may have before it is one line.
const fold = 3

// Changes lists what changed, one line for each path: + new, ~ changed, - deleted, and how much. A directory that is
// new, or gone, as a whole is one line.
func Changes(w io.Writer, s Style, list []File) error { return changes(w, s, list, File.amount) }

// Sizes is [Changes] with the size of each file instead of what changed in it: it reads nothing.
func Sizes(w io.Writer, s Style, list []File) error {
	return changes(w, s, list, func(f File) (string, error) { return Size(max(f.After.Size, f.Before.Size)), nil })
}

func changes(w io.Writer, s Style, list []File, amount func(File) (string, error)) error {
	type row struct{ mark, path, size string }
	var rows []row
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(inTree(a.Path), inTree(b.Path)) })
	for i := 0; i < len(list); {
		f := list[i]
		n := 1
		if f.Before.Type == "dir" && f.After.Type == "" || f.Before.Type == "" && f.After.Type == "dir" {
			n = below(list[i:], f.Path)
		}
		switch all := regular(list[i : i+n]); {
		case n > 1 && all > 0 && all <= fold: // its files stand for it
			n = 1
		case n > 1:
			rows = append(rows, row{mark(s, f), f.Path + "/**", tree(list[i : i+n])})
		case f.After.Type == "dir" || f.Before.Type == "dir":
			rows = append(rows, row{mark(s, f), f.Path + "/", ""})
		default:
			size, err := amount(f)
			if err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
			rows = append(rows, row{mark(s, f), f.Path, size})
		}
		i += n
	}
	width := 0
	for i := range rows {
		rows[i].path = Clean(rows[i].path)
		width = max(width, Width(rows[i].path))
	}
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(strings.TrimRight(r.mark+" "+pad(r.path, width)+"   "+r.size, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// inTree orders a path so that a directory stands right before what is in it.
func inTree(p string) string { return strings.ReplaceAll(p, "/", "\x00") }

// below counts the entries at the head of list that are dir or below it and lead the same way as dir.
func below(list []File, dir string) int {
	n := 1
	for n < len(list) && strings.HasPrefix(list[n].Path, dir+"/") &&
		(list[n].Before.Type == "") == (list[0].Before.Type == "") && (list[n].After.Type == "") == (list[0].After.Type == "") {
		n++
	}
	return n
}

// regular counts what is no directory.
func regular(list []File) int {
	n := 0
	for _, f := range list {
		if f.Before.Type != "dir" && f.After.Type != "dir" {
			n++
		}
	}
	return n
}

func tree(list []File) string {
	size := int64(0)
	for _, f := range list {
		size += max(f.Before.Size, f.After.Size)
	}
	return Count(regular(list), "file") + ", " + Size(size)
}

func mark(s Style, f File) string {
	switch {
	case f.Before.Type == "":
		return s.Green("+")
	case f.After.Type == "":
		return s.Red("-")
	}
	return s.Yellow("~")
}

// amount is how much of a file changed: lines of a text, else its size.
func (f File) amount() (string, error) {
	if f.Before.Type == "link" || f.After.Type == "link" {
		return "link to " + Clean(f.After.Target), nil
	}
	if f.Before.Type != "file" || f.After.Type != "file" {
		return Size(max(f.Before.Size, f.After.Size)), nil
	}
	if bytes.Equal(f.Before.Digest, f.After.Digest) && f.Before.Mode != f.After.Mode {
		return fmt.Sprintf("mode %o", f.After.Mode), nil
	}
	before, after, text, err := f.texts()
	if err != nil {
		return "", err
	}
	if !text {
		return Size(f.After.Size), nil
	}
	n := 0
	for _, e := range udiff.Lines(before, after) {
		gone, came := strings.Count(before[e.Start:e.End], "\n"), strings.Count(e.New, "\n")
		n += max(gone, came, 1)
	}
	return Count(n, "line"), nil
}

// Under keeps the files that are, or are below, one of paths; all of them if there are no paths. A path that
// matches nothing is an error that wraps [fs.ErrNotExist].
func Under(list []File, paths []string) ([]File, error) {
	if len(paths) == 0 {
		return list, nil
	}
	var out []File
	for _, f := range list {
		if slices.ContainsFunc(paths, func(p string) bool { return inside(f.Path, p) }) {
			out = append(out, f)
		}
	}
	for _, p := range paths {
		if !slices.ContainsFunc(out, func(f File) bool { return inside(f.Path, p) }) {
			return nil, fmt.Errorf("%s is not among what changed: %w", p, fs.ErrNotExist)
		}
	}
	return out, nil
}

func inside(name, p string) bool {
	p = path.Clean(p)
	return p == "." || name == p || strings.HasPrefix(name, p+"/")
}
