package lsp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// Whatever comes in, a message is read or refused, and what is read is what was written.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("Content-Length: 2\r\n\r\n{}Content-Length: 0\r\n\r\n"))
	f.Add([]byte("content-length:2\nX: y\n\n{}"))
	f.Add([]byte("Content-Length: 99\r\n\r\n{}"))
	f.Add([]byte("Content-Length: -1\r\n\r\n"))
	f.Add([]byte("Content-Length: 2147483647\r\n\r\n"))
	f.Add([]byte(strings.Repeat("x", 5000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		for {
			body, err := readMessage(r)
			if err != nil {
				require.Nil(t, body)
				if err == io.EOF {
					require.Zero(t, r.Buffered(), "all of it was read")
				}
				return
			}
			require.LessOrEqual(t, len(body), len(b))
			var again bytes.Buffer
			require.NoError(t, writeMessage(&again, body))
			got, err := readMessage(bufio.NewReader(&again))
			require.NoError(t, err)
			require.Equal(t, body, got)
		}
	})
}

func TestFramesThatAreNone(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"an end within the header": {"Content-Length: 2\r\n", "unexpected EOF"},
		"an end within the body":   {"Content-Length: 3\r\n\r\n{}", "unexpected EOF"},
		"no length":                {"X: 2\r\n\r\n{}", "without Content-Length"},
		"no number":                {"Content-Length: many\r\n\r\n{}", "many bytes"},
		"too much":                 {"Content-Length: 99999999999\r\n\r\n{}", "at most"},
		"no header":                {"{}\r\n\r\n", "is not a header"},
		"an endless header":        {strings.Repeat("x: y\r\n", 2000), "longer than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := readMessage(bufio.NewReader(strings.NewReader(tt.in)))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// texts are such as make trouble: line endings of all kinds, characters of one to four bytes, and blocks.
func texts() *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "ü", "😀", "\n", "\r\n", "\r", " ", "task \"a\" {\n}\n", "x {\r\n}\r\n", "e\u0301"}), 0, 30), func(s []string) string { return strings.Join(s, "") })
}

// model is the protocol's view of a text: lines of UTF-16 code units.
func model(s string) (lines [][]uint16) {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	for _, l := range strings.Split(s, "\n") {
		lines = append(lines, utf16.Encode([]rune(l)))
	}
	return lines
}

func TestPositionsAreThoseOfTheProtocol(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := texts().Draw(t, "text")
		x := newText(raw)
		lines := model(raw)
		require.Len(t, x.lines, len(lines))
		for at := range raw { // each character
			if at > 0 && raw[at-1] == '\r' && raw[at] == '\n' {
				continue // inside of a line ending there is no position
			}
			p := x.position(at)
			require.LessOrEqual(t, p.Character, len(lines[p.Line]))
			require.Equal(t, at, x.offset(p))
			seen, part := x.seen(p)
			require.Equal(t, p, x.unseen(seen))
			require.LessOrEqual(t, x.parts[part].at, seen)
			require.LessOrEqual(t, seen, x.parts[part].at+len(x.parts[part].text))
		}
		var all strings.Builder
		for _, p := range x.parts {
			require.Equal(t, all.Len(), p.at)
			all.WriteString(p.text)
		}
		require.Equal(t, strings.ReplaceAll(raw, "\r\n", "\n"), all.String())
	})
}

func TestChangesAreThoseOfTheProtocol(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw, by := texts().Draw(t, "text"), texts().Draw(t, "by")
		lines := model(raw)
		place := func(what string) (position, int) { // and its offset in the lines joined by one unit each
			line := rapid.IntRange(0, len(lines)-1).Draw(t, what+" line")
			character := rapid.IntRange(0, len(lines[line])).Draw(t, what+" character")
			if character > 0 && utf16.IsSurrogate(rune(lines[line][character-1])) && lines[line][character-1] < 0xdc00 {
				character-- // editors do not point into a character
			}
			at := character
			for _, l := range lines[:line] {
				at += len(l) + 1
			}
			return position{line, character}, at
		}
		from, i := place("from")
		to, j := place("to")
		if i > j {
			from, i, to, j = to, j, from, i
		}
		flat := func(s string) []uint16 {
			return utf16.Encode([]rune(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)))
		}
		want := string(utf16.Decode(flat(raw)[:i])) + "|" + string(utf16.Decode(flat(by))) + "|" + string(utf16.Decode(flat(raw)[j:]))
		got := newText(raw).change(span{from, to}, "|"+by+"|") // the bars keep a \r from meeting a \n
		require.Equal(t, want, string(utf16.Decode(flat(got.raw))))
	})
}

func TestPositionsThatAreNone(t *testing.T) {
	x := newText("\xef\xbb\xbfab\r\nü")
	require.Equal(t, 3, x.offset(position{0, 0}), "a byte order mark is not seen")
	require.Equal(t, 5, x.offset(position{0, 99}))
	require.Equal(t, len(x.raw), x.offset(position{99, 0}))
	require.Equal(t, 0, x.offset(position{-1, 0}))
	require.Equal(t, x.offset(position{0, 0}), newText("\xef\xbb\xbf😀").offset(position{0, 1}), "the middle of a character is its beginning")
}

// memory drafts a workspace of these files, without anything else of a machine.
func memory(files fstest.MapFS) Draft {
	return func(dir string, afresh bool, load func(fsys, std fs.FS) (*lang.Module, diag.List), look func(*lang.Module, compiler.Options, diag.List)) error {
		m, diags := load(files, fstest.MapFS{})
		look(m, compiler.Options{World: lang.World{FS: files}, Known: diags}, diags)
		return nil
	}
}

// What an editor is told of the parts of a text is what `jitos validate` says of the whole, as long as it parses.
func TestPartsSayWhatTheWholeSays(t *testing.T) {
	archives, err := filepath.Glob("../../../lang/testdata/wrong/*.txtar")
	require.NoError(t, err)
	more, err := filepath.Glob("../../../compiler/testdata/*.txtar")
	require.NoError(t, err)
	compared := 0
	for _, path := range append(archives, more...) {
		ar, err := txtar.ParseFile(path)
		require.NoError(t, err)
		files := fstest.MapFS{}
		for _, f := range ar.Files {
			if !strings.HasPrefix(f.Name, "out/") && !strings.HasPrefix(f.Name, "want") {
				files[f.Name] = &fstest.MapFile{Data: f.Data}
			}
		}
		m, known := lang.Load(files, ".", fstest.MapFS{})
		if len(m.Files()) == 0 {
			continue
		}
		_, diags := compiler.Compile(m, compiler.Options{World: lang.World{FS: files}, Known: known})
		diags = append(known, diags...).Sorted()
		if hasSyntaxErrors(diags) {
			continue
		}
		w := &workspace{dir: "/w", draft: memory(files), known: map[string]*text{}}
		a, err := w.analyze(nil, compiled)
		require.NoError(t, err)
		w.current = a
		type told struct {
			code, summary string
			at            location
		}
		var want, got []told
		for _, d := range diags {
			x := newText(string(m.Source(d.Subject.File)))
			if d.Subject.File == "" || m.Source(d.Subject.File) == nil {
				continue
			}
			want = append(want, told{d.Code, d.Summary, location{w.uri(d.Subject.File), span{x.unseen(d.Subject.Start.Byte), x.unseen(d.Subject.End.Byte)}}})
		}
		for _, d := range a.diags {
			if at, ok := w.where(d.Subject); ok {
				got = append(got, told{d.Code, d.Summary, at})
			}
		}
		require.ElementsMatch(t, want, got, path)
		compared++
	}
	require.Greater(t, compared, 50)
}

func hasSyntaxErrors(l diag.List) bool {
	for _, d := range l {
		if strings.HasPrefix(d.Code, "JT1") {
			return true
		}
	}
	return false
}

// Wherever somebody types in whatever text, there is an answer.
func FuzzRequests(f *testing.F) {
	everything, err := os.ReadFile("../../../lang/testdata/everything.jitos.hcl")
	require.NoError(f, err)
	f.Add(string(everything), 1500)
	f.Add("task \"a\" {\n  needs = [task.a, { task = task.a, with = { x = 1 } }]\n", 30)
	f.Add("method \"\" {\n any = [\"a\", 1, \"\"]\n}\nuse \"\" { x = task.a.b.c[0] }", 60)
	f.Add("\"${\r\n{]}<<E\r\n", 5)
	f.Fuzz(func(t *testing.T, raw string, at int) {
		if len(raw) > 20_000 {
			return
		}
		var out bytes.Buffer
		s := newServer(Options{Draft: memory(fstest.MapFS{})}, &out)
		const abs = "/nowhere/a.jitos.hcl"
		s.homes["/nowhere"] = "/nowhere"
		s.documents[abs] = newText(raw)
		var p positionParams
		p.TextDocument.URI = uriOf(abs)
		p.Position = s.documents[abs].position(at)
		s.settle()
		for _, h := range []func(*server, positionParams) (any, error){(*server).completion, (*server).hover, (*server).definition} {
			_, err := h(s, p)
			require.NoError(t, err)
		}
		for _, h := range []func(*server, documentParams) (any, error){(*server).documentSymbols, (*server).formatting} {
			_, err := h(s, p.documentParams)
			require.NoError(t, err)
		}
		_, err := s.references(referenceParams{positionParams: p})
		require.NoError(t, err)
		_, err = s.codeActions(codeActionParams{documentParams: p.documentParams, Range: span{p.Position, p.Position}})
		require.NoError(t, err)
		require.NotContains(t, out.String(), "a bug in jitos")
	})
}

func TestCancellationIsForWhatWaits(t *testing.T) {
	var out bytes.Buffer
	s := &server{out: &out}
	s.receive([]byte(`{"id":1,"method":"a"}`))
	s.receive([]byte(`{"id":"1","method":"b"}`))
	s.receive([]byte(`{"method":"$/cancelRequest","params":{"id":"1"}}`))
	s.receive([]byte(`{"method":"$/cancelRequest","params":{"id":7}}`))
	require.Len(t, s.queue, 1)
	require.Equal(t, "a", s.queue[0].Method)
	require.Equal(t, 1, strings.Count(out.String(), `{"jsonrpc":"2.0","id":"1","error":{"code":-32800`))
}

type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, errors.New("nobody listens") }

func TestServeSaysThatNobodyListens(t *testing.T) {
	in := strings.NewReader("Content-Length: 40\r\n\r\n" + `{"id":1,"method":"initialize"}          `)
	require.ErrorContains(t, Serve(t.Context(), in, gone{}, Options{}), "nobody listens")
}

// All that was said before the end of the stream is heard.
func TestServeHearsWhatCameBeforeTheEnd(t *testing.T) {
	said := func(bodies ...string) io.Reader {
		var b bytes.Buffer
		for _, s := range bodies {
			require.NoError(t, writeMessage(&b, []byte(s)))
		}
		return &b
	}
	const hello, bye, exit = `{"id":1,"method":"initialize"}`, `{"id":2,"method":"shutdown"}`, `{"method":"exit"}`
	for range 100 {
		require.NoError(t, Serve(t.Context(), said(hello, bye, exit), io.Discard, Options{}))
		require.NoError(t, Serve(t.Context(), said(hello, bye), io.Discard, Options{}))
		require.ErrorIs(t, Serve(t.Context(), said(hello, exit), io.Discard, Options{}), ErrNoShutdown)
		require.ErrorIs(t, Serve(t.Context(), said(hello), io.Discard, Options{}), ErrNoShutdown)
	}
}

// A bug of ours in the compiler is told, and the server goes on.
func TestABugEndsNothing(t *testing.T) {
	var out bytes.Buffer
	s := newServer(Options{Draft: func(string, bool, func(fsys, std fs.FS) (*lang.Module, diag.List), func(*lang.Module, compiler.Options, diag.List)) error {
		panic("oops")
	}}, &out)
	s.state = running
	s.receive([]byte(`{"method":"textDocument/didOpen","params":{"textDocument":{"uri":"file:///nowhere/a.jitos.hcl","text":"task"}}}`))
	s.receive([]byte(`{"id":1,"method":"textDocument/hover","params":{"textDocument":{"uri":"file:///nowhere/a.jitos.hcl"}}}`))
	s.next()
	s.settle()
	require.Contains(t, out.String(), "a bug in jitos, during compiling: oops")
	s.next()
	require.Contains(t, out.String(), `{"jsonrpc":"2.0","id":1,"result":null}`)
}
