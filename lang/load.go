package lang

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/flyingrobots/jitos/lang/diag"
)

// Extension is how the names of workflow files end.
const Extension = ".jitos.hcl"

// hcl keeps some twenty bytes of memory for each byte of text, so that what a workflow may cost has to be bounded by its size.
const (
	maxFile = 8 << 20
	maxAll  = 16 << 20 // of all modules together
)

// File is the text of a workflow file.
type File struct {
	Name string // slash-separated; stands in ranges
	Text []byte // kept by the Module, so not to be changed
}

// Load reads, parses and decodes all workflow files of the directory dir of fsys, in name order; hidden files and
// those of subdirectories are not part of it. The modules that it uses are loaded with it: other directories of fsys, and
// for "std/NAME" the directory NAME of std, which is nil where there are none. Load returns the best Module it can, never
// nil, and all diagnostics, sorted. Files are called by their path in fsys, those of std by their path there after StdPrefix.
func Load(fsys fs.FS, dir string, std fs.FS) (*Module, diag.List) {
	return new(Loader).Load(fsys, dir, std)
}

// Loader loads again and again, as an editor has to: a file that reads as it did the last time is not parsed again. The zero
// Loader is ready for use.
type Loader struct{ parsed map[string]parsed } // by name

// parsed is what a file's text was understood as.
type parsed struct {
	text   []byte
	body   *hclsyntax.Body // nil if nothing was
	errors diag.List
	guess  []span // where even the structure is a guess
}

// span is a part of a text, by offsets.
type span struct{ from, to int }

// Load is [Load].
func (c *Loader) Load(fsys fs.FS, dir string, std fs.FS) (*Module, diag.List) {
	before := c.parsed
	c.parsed = map[string]parsed{}
	parse := func(name string, text []byte) parsed {
		p, known := before[name]
		if !known || !bytes.Equal(p.text, text) {
			p = parseFile(name, text)
		}
		c.parsed[name] = p
		return p
	}
	l := &loader{fsys: fsys, std: std, parse: parse, sources: map[string][]byte{}, modules: map[string]*Module{}, chain: []link{{dir: dir}}}
	m, found := l.module(dir)
	if !found && len(l.diags) == 0 {
		l.fail(CodeNoFiles, diag.Range{File: dir}, "no workflow here", "There is no file *"+Extension+". `jitos init` writes one.")
	}
	l.uses(m)
	return m, l.diags.Sorted()
}

var errLarge = fmt.Errorf("it is larger than %d MB; split it", maxFile>>20)

func read(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if info.Size() > maxFile {
		return nil, errLarge
	}
	return fs.ReadFile(fsys, name)
}

// Parse is Load for texts in memory, without the modules that they use. The order of files is the order of declarations.
func Parse(files []File) (*Module, diag.List) {
	m := &Module{sources: make(map[string][]byte, len(files))}
	return m, m.parse(files, parseFile).Sorted()
}

// parse fills m in.
func (m *Module) parse(files []File, parse func(name string, text []byte) parsed) diag.List {
	m.bodies = make(map[string]*hclsyntax.Body, len(files))
	var syntax diag.List
	var bodies []*hclsyntax.Body
	broken := map[string]parsed{} // files with syntax errors
	for _, f := range files {
		text := unixLines(f.Text)
		m.files = append(m.files, f.Name)
		m.sources[f.Name] = text
		p := parse(f.Name, text)
		if len(p.errors) > 0 {
			broken[f.Name] = p
			syntax = append(syntax, p.errors...)
		}
		if p.body != nil {
			m.bodies[f.Name] = p.body
			bodies = append(bodies, p.body)
		}
	}
	d := &decoder{m: m, functions: functionNames()}
	d.module(bodies)
	// What is missing after a syntax error may only have been unreadable.
	decoded := slices.DeleteFunc(d.diags, func(n diag.Diagnostic) bool {
		p, broken := broken[n.Subject.File]
		return broken && (n.Code == CodeMissing || n.Code == CodeLabels ||
			slices.ContainsFunc(p.guess, func(g span) bool { return g.from <= n.Subject.Start.Byte && n.Subject.Start.Byte < g.to }))
	})
	return append(syntax, decoded...)
}

// unixLines is text with the line endings that the parser knows.
func unixLines(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")) }

func parseFile(name string, text []byte) parsed {
	if len(text) > maxFile {
		return parsed{text: text, errors: diag.List{{Code: CodeUnreadable, Subject: diag.Range{File: name}, Summary: "cannot read the file", Detail: changeFirst(errLarge.Error(), unicode.ToUpper) + "."}}}
	}
	var cuts []int
	next := partSize
	at, open := scan(text, func(at int) {
		if at >= next {
			cuts, next = append(cuts, at), at+partSize
		}
	})
	if at >= 0 {
		where := place(text, at)
		return parsed{text: text, errors: diag.List{{
			Code:    CodeNesting,
			Summary: "nested too deeply",
			Detail:  fmt.Sprintf("At most %d levels and %d operators in a row. Give parts of it names in a locals block.", maxDepth, maxChain),
			Subject: RangeOf(hcl.Range{Filename: name, Start: where, End: where}),
		}}}
	}
	body, diags := parseParts(name, text, cuts)
	if body == nil || slices.ContainsFunc(diags, hcl.Diagnostics.HasErrors) {
		cuts = Cuts(text) // the parser gives up what follows some errors, so let it see one block at a time
		body, diags = parseParts(name, text, cuts)
	}
	if body == nil {
		cuts = nil
		body, diags = parseParts(name, text, cuts)
	}
	// One cause can have many effects. The scanner's messages come first, and are nearer to it than the parser's for
	// the same place; after a quote that is not closed, inside and outside of strings are swapped.
	var syntax diag.List
	var guess []span
	seen := map[int]bool{}
	for i, to := range append(cuts, len(text)) {
		end, from := to, to
		for _, d := range FromHCL(diags[i], CodeSyntax) {
			if open != nil && strings.HasPrefix(d.Summary, "unterminated template") { // hcl shows the end of the file
				from, to := place(text, open.at), place(text, open.at+lineLength(text[open.at:]))
				d.Subject = RangeOf(hcl.Range{Filename: name, Start: from, End: to})
				d.Summary, d.Detail = "a heredoc without an end", fmt.Sprintf("It ends with a line that holds %s alone.", open.marker)
			}
			if at := d.Subject.Start.Byte; at <= end && !seen[at] {
				seen[at] = true
				syntax = append(syntax, d)
				if strings.HasPrefix(d.Summary, unclosedQuote) {
					end = at
				}
				if strings.HasPrefix(d.Summary, unclosedQuote) || strings.HasPrefix(d.Summary, unclosedBlock) {
					from = min(from, at) // the parser takes all after it for its content
				}
			}
		}
		if from < to {
			guess = append(guess, span{from, to})
		}
	}
	return parsed{text, body, syntax, guess}
}

// partSize is about how much text is parsed at once: the parser keeps all tokens of a text, some hundred bytes of memory for
// each byte, until it has read it.
const partSize = 64 << 10

// partsAtOnce is how many parts are parsed at the same time.
const partsAtOnce = 8

// parseParts parses the parts between cuts, several at once, and returns what is wrong in each. The body is nil where a part
// after the first has attributes: the parser has to see the whole, since an attribute may stand in two parts.
func parseParts(name string, text []byte, cuts []int) (*hclsyntax.Body, []hcl.Diagnostics) {
	bodies, diags := make([]*hclsyntax.Body, len(cuts)+1), make([]hcl.Diagnostics, len(cuts)+1)
	var wg sync.WaitGroup
	busy := make(chan struct{}, partsAtOnce)
	from := hcl.InitialPos
	for i, to := range append(cuts, len(text)) {
		part, start := text[from.Byte:to], from
		from = hcl.Pos{Line: from.Line + bytes.Count(part, []byte("\n")), Column: 1, Byte: to}
		busy <- struct{}{}
		wg.Go(func() {
			defer func() { <-busy }()
			var file *hcl.File
			file, diags[i] = hclsyntax.ParseConfig(part, name, start)
			bodies[i] = file.Body.(*hclsyntax.Body)
		})
	}
	wg.Wait()
	whole := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, Blocks: hclsyntax.Blocks{}}
	for i, b := range bodies {
		if len(b.Attributes) > 0 && i > 0 {
			return nil, nil
		}
		maps.Copy(whole.Attributes, b.Attributes)
		whole.Blocks = append(whole.Blocks, b.Blocks...)
		whole.EndRange = b.EndRange
	}
	whole.SrcRange = hcl.RangeBetween(bodies[0].SrcRange, bodies[len(cuts)].SrcRange)
	return whole, diags
}

// place is the position of an offset. Its column counts bytes.
func place(text []byte, at int) hcl.Pos {
	line := bytes.LastIndexByte(text[:at], '\n') + 1
	return hcl.Pos{Line: 1 + bytes.Count(text[:at], []byte("\n")), Column: 1 + at - line, Byte: at}
}

// How the summaries of hcl begin that mean that inside and outside are no longer sure.
const (
	unclosedQuote = "invalid multi-line string"
	unclosedBlock = "unclosed configuration"
)
