// Package lsp is a language server for workflow files: it speaks the Language Server Protocol over two streams.
//
// It knows the protocol and editors' texts; what is right, what may stand where and what names mean it asks of lang and
// compiler. Start reading at [Serve]. A text is cut into parts (text.go), so that a keystroke parses one block; a
// workspace is analyzed as a whole (workspace.go) with the parts as its files (draft.go); names are found by a walk over the
// syntax (index.go); completion finds out where it is by the tokens in front of the cursor (cursor.go), because what
// somebody types does not parse yet.
//
// # Caveats
//
// Nothing is run and nothing is written: looking at a fresh clone is safe. Facts that a probe would ask for are unknown.
package lsp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// Draft looks at the workspace in dir, which load reads. look is called with what it read, what to compile it with, and what
// is wrong so far. afresh says that files on disk may have changed since the last time.
type Draft func(dir string, afresh bool, load func(fsys, std fs.FS) (*lang.Module, diag.List), look func(*lang.Module, compiler.Options, diag.List)) error

// Options are what a server is made of.
type Options struct {
	Draft   Draft
	Version string // of jitos
}

// ErrNoShutdown says that the editor ended without saying goodbye.
var ErrNoShutdown = errors.New("the editor closed the connection without a shutdown request")

// quiet is how long nothing must come in before problems are looked for: an editor asks for completion right after it told
// of a keystroke, and that comes first.
const quiet = 5 * time.Millisecond

// Serve answers an editor until it says exit, the stream ends, or ctx does.
func Serve(ctx context.Context, in io.Reader, out io.Writer, o Options) error {
	s := newServer(o, out)
	type input struct {
		body []byte
		err  error // the last one
	}
	incoming := make(chan input, 64) // with some room: what comes in may cancel what waits
	go func() {                      // it ends with the stream, or with the process
		r := bufio.NewReaderSize(in, 64<<10)
		for {
			body, err := readMessage(r)
			select {
			case incoming <- input{body, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	var ended error
	take := func(in input) {
		if ended = in.err; ended == nil {
			s.receive(in.body)
		}
	}
	for {
		if len(s.queue) > 0 { // first take all that has come in meanwhile
			select {
			case in := <-incoming:
				take(in)
			default:
				if done := s.next(); done {
					return s.failed(s.goodbye())
				}
			}
			continue
		}
		if ended == io.EOF {
			return s.failed(s.goodbye())
		} else if ended != nil {
			return s.failed(ended)
		}
		var idle <-chan time.Time
		if s.unsettled() {
			idle = time.After(quiet)
		}
		select {
		case in := <-incoming:
			take(in)
		case <-idle:
			s.settle()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// server is the state of a connection. One goroutine owns it.
type server struct {
	o          Options
	out        io.Writer
	broken     error // of out: nobody listens any more
	schema     *lang.Schema
	functions  []lang.FunctionDoc
	snippets   bool // the editor fills them in
	queue      []message
	state      state
	watches    bool              // the editor can be asked to watch files
	folders    []string          // absolute paths
	documents  map[string]*text  // open ones, by absolute path
	opened     []string          // documents that nobody has looked at yet
	homes      map[string]string // the workspace of a directory, once it was looked for
	workspaces map[string]*workspace
}

func newServer(o Options, out io.Writer) *server {
	return &server{
		o: o, out: out, schema: lang.Describe(), functions: lang.FunctionDocs(),
		documents: map[string]*text{}, homes: map[string]string{}, workspaces: map[string]*workspace{},
	}
}

type state int

const (
	fresh state = iota
	running
	shutDown
)

func (s *server) goodbye() error {
	if s.state == shutDown {
		return nil
	}
	return ErrNoShutdown
}

// failed is err, unless nobody listened any more, which is why.
func (s *server) failed(err error) error { return errors.Join(s.broken, err) }

// receive queues a message. A cancellation takes effect at once.
func (s *server) receive(body []byte) {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		s.send(response{JSONRPC: "2.0", ID: json.RawMessage("null"), Error: &failure{codeParse, "not JSON-RPC: " + err.Error()}})
		return
	}
	if m.Method != "$/cancelRequest" {
		s.queue = append(s.queue, m)
		return
	}
	var p struct{ ID json.RawMessage }
	if json.Unmarshal(m.Params, &p) != nil {
		return
	}
	for i, waiting := range s.queue {
		if waiting.ID != nil && string(waiting.ID) == string(p.ID) {
			s.queue = slices.Delete(s.queue, i, i+1)
			s.send(response{JSONRPC: "2.0", ID: p.ID, Error: &failure{codeCancelled, "cancelled"}})
			return
		}
	}
}

// next handles the first message of the queue. done says that it was the last one.
func (s *server) next() (done bool) {
	m := s.queue[0]
	s.queue = s.queue[1:]
	if m.Method == "" { // a response to a request of ours
		return false
	}
	if m.Method == "exit" {
		return true
	}
	result, err := s.handle(m)
	if m.ID == nil {
		return false
	}
	answer := response{JSONRPC: "2.0", ID: m.ID, Result: result}
	if err != nil {
		f, ok := errors.AsType[*failure](err)
		if !ok {
			f = &failure{codeInternal, err.Error()}
		}
		answer.Result, answer.Error = nil, f
	} else if result == nil {
		answer.Result = json.RawMessage("null")
	}
	s.send(answer)
	return false
}

// handle calls the handler of a message. A bug of ours in one of them must not take the editor's server away.
func (s *server) handle(m message) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, s.bug(m.Method, p)
		}
	}()
	h, known := handlers()[m.Method]
	switch {
	case !known:
		return nil, &failure{codeUnknownMethod, "no method " + m.Method}
	case s.state == fresh && m.Method != "initialize":
		return nil, &failure{codeNotInitialized, "initialize comes first"}
	case s.state == running && m.Method == "initialize", s.state == shutDown:
		return nil, &failure{codeInvalidRequest, m.Method + " cannot come now"}
	}
	return h(s, m.Params)
}

// bug reports a panic.
func (s *server) bug(during string, p any) error {
	err := fmt.Errorf("a bug in jitos, during %s: %v", during, p)
	s.log(err.Error())
	return err
}

// log tells something that the editor keeps for those who look for it.
func (s *server) log(text string) {
	s.notify("window/logMessage", struct {
		Type    int    `json:"type"`
		Message string `json:"message"`
	}{1, text})
}

type handler func(*server, json.RawMessage) (any, error)

func handlers() map[string]handler {
	return map[string]handler{
		"initialize":                      on((*server).initialize),
		"initialized":                     on((*server).initialized),
		"shutdown":                        on((*server).shutdown),
		"textDocument/didOpen":            on((*server).didOpen),
		"textDocument/didChange":          on((*server).didChange),
		"textDocument/didClose":           on((*server).didClose),
		"textDocument/didSave":            on((*server).filesChanged),
		"workspace/didChangeWatchedFiles": on((*server).filesChanged),
		"textDocument/completion":         on((*server).completion),
		"textDocument/hover":              on((*server).hover),
		"textDocument/definition":         on((*server).definition),
		"textDocument/references":         on((*server).references),
		"textDocument/documentSymbol":     on((*server).documentSymbols),
		"workspace/symbol":                on((*server).workspaceSymbols),
		"textDocument/formatting":         on((*server).formatting),
		"textDocument/codeAction":         on((*server).codeActions),
	}
}

// on is a handler of typed parameters.
func on[P any](h func(*server, P) (any, error)) handler {
	return func(s *server, raw json.RawMessage) (any, error) {
		var p P
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &p); err != nil {
				return nil, &failure{codeInvalidParams, err.Error()}
			}
		}
		return h(s, p)
	}
}

func (s *server) send(v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // all that is sent can be encoded
	}
	if err := writeMessage(s.out, body); err != nil && s.broken == nil {
		s.broken = err
	}
}

func (s *server) notify(method string, params any) {
	s.send(call{JSONRPC: "2.0", Method: method, Params: params})
}

func (s *server) initialize(p initializeParams) (any, error) {
	s.state = running
	s.watches = p.Capabilities.Workspace.DidChangeWatchedFiles.DynamicRegistration
	s.snippets = p.Capabilities.TextDocument.Completion.CompletionItem.SnippetSupport
	if len(p.WorkspaceFolders) == 0 {
		p.WorkspaceFolders = []folder{{p.RootURI}}
	}
	for _, f := range p.WorkspaceFolders {
		if dir, ok := pathOf(f.URI); ok {
			s.folders = append(s.folders, dir)
		}
	}
	type object = map[string]any
	return object{
		"serverInfo": object{"name": "jitos", "version": s.o.Version},
		"capabilities": object{
			"positionEncoding":           "utf-16",
			"textDocumentSync":           object{"openClose": true, "change": 2, "save": object{"includeText": false}},
			"completionProvider":         object{"triggerCharacters": []string{".", ":", "\"", "{", "[", "="}},
			"hoverProvider":              true,
			"definitionProvider":         true,
			"referencesProvider":         true,
			"documentSymbolProvider":     true,
			"workspaceSymbolProvider":    true,
			"documentFormattingProvider": true,
			"codeActionProvider":         object{"codeActionKinds": []string{"quickfix"}},
		},
	}, nil
}

// initialized asks the editor to tell of changes on disk.
func (s *server) initialized(struct{}) (any, error) {
	if !s.watches {
		return nil, nil
	}
	type object = map[string]any
	s.send(call{JSONRPC: "2.0", ID: "watch", Method: "client/registerCapability", Params: object{"registrations": []object{{
		"id": "watch", "method": "workspace/didChangeWatchedFiles",
		"registerOptions": object{"watchers": []object{{"globPattern": "**/*" + lang.Extension}}},
	}}}})
	return nil, nil
}

func (s *server) shutdown(struct{}) (any, error) {
	s.state = shutDown
	return nil, nil
}

func (s *server) didOpen(p didOpenParams) (any, error) {
	if abs, ok := pathOf(p.TextDocument.URI); ok {
		s.documents[abs] = newText(p.TextDocument.Text)
		s.documents[abs].version = p.TextDocument.Version
		s.opened = append(s.opened, abs)
		s.touch(abs)
	}
	return nil, nil
}

func (s *server) didChange(p didChangeParams) (any, error) {
	abs, _ := pathOf(p.TextDocument.URI)
	t := s.documents[abs]
	if t == nil {
		return nil, &failure{codeInvalidParams, p.TextDocument.URI + " is not open"}
	}
	for _, c := range p.ContentChanges {
		if c.Range == nil {
			t = newText(c.Text)
		} else {
			t = t.change(*c.Range, c.Text)
		}
	}
	t.version = p.TextDocument.Version
	s.documents[abs] = t
	s.touch(abs)
	return nil, nil
}

func (s *server) didClose(p documentParams) (any, error) {
	if abs, ok := pathOf(p.TextDocument.URI); ok {
		s.touch(abs)
		delete(s.documents, abs)
	}
	return nil, nil
}

// filesChanged is told of files on disk: whichever they are, what was read may be different now.
func (s *server) filesChanged(struct{}) (any, error) {
	for _, w := range s.workspaces { // order: each alone
		w.dirty, w.afresh, w.shown = true, true, false
	}
	clear(s.homes)
	return nil, nil
}

// touch says that a document is not what it was.
func (s *server) touch(abs string) {
	for _, w := range s.workspaces { // order: each alone
		if w.holds(abs) {
			w.dirty, w.shown = true, false
		}
	}
}

// holds reports whether a file belongs to a module of w, as far as is known.
func (w *workspace) holds(abs string) bool {
	return filepath.Dir(abs) == w.dir || w.current != nil && w.current.moduleOf(w.file(abs)) != nil
}

// home is the workspace of a workflow file: the outermost directory above it whose module is the file's or uses the file's,
// but nothing above the folders that the editor has open.
func (s *server) home(abs string) *workspace {
	dir := filepath.Dir(abs)
	if root, known := s.homes[dir]; known {
		return s.workspace(root)
	}
	above := []string{dir}
	for up := dir; !slices.Contains(s.folders, up) && filepath.Dir(up) != up; {
		up = filepath.Dir(up)
		above = append(above, up)
	}
	s.homes[dir] = dir
	for _, up := range slices.Backward(above[1:]) {
		if !hasWorkflow(up) {
			continue
		}
		if w := s.workspace(up); s.update(w) && w.holds(abs) {
			s.homes[dir] = up
			break
		}
	}
	return s.workspace(s.homes[dir])
}

func (s *server) workspace(dir string) *workspace {
	w := s.workspaces[dir]
	if w == nil {
		w = &workspace{
			dir: dir, draft: s.o.Draft, dirty: true, afresh: true,
			known: map[string]*text{}, index: map[*hclsyntax.Body][]mention{}, told: map[string]string{},
		}
		s.workspaces[dir] = w
	}
	return w
}

// open are the documents below the directory of w, by path in it.
func (s *server) open(w *workspace) map[string]*text {
	out := map[string]*text{}
	for abs, t := range s.documents { // order: a map again
		if file := w.file(abs); filepath.IsLocal(file) {
			out[file] = t
		}
	}
	return out
}

// update brings the analysis of w up to date, and reports whether there is one: that of before where it cannot be made.
func (s *server) update(w *workspace) (there bool) {
	defer func() {
		if p := recover(); p != nil {
			_ = s.bug("compiling", p) // it was logged
			there = w.current != nil
		}
	}()
	if w.dirty {
		w.dirty = false
		a, err := w.analyze(s.open(w), compiled)
		if err != nil {
			s.log(err.Error())
			return w.current != nil
		}
		w.current = a
		w.forget()
	}
	return w.current != nil
}

// unsettled reports whether there are problems that the editor does not know of, or knows of that are none.
func (s *server) unsettled() bool {
	for _, w := range s.workspaces { // order: any of them
		if !w.shown {
			return true
		}
	}
	return len(s.opened) > 0
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
