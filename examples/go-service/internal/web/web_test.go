package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/shortlinks/internal/store"
)

func TestAPI(t *testing.T) {
	h := Routes(API{Store: new(store.Store)})
	// In order: each line sees what the ones before it did.
	for _, tt := range []struct {
		method, path, body string
		code               int
		want               string // in the body or the Location header
	}{
		{"GET", "/healthz", "", 200, `"ok"`},
		{"GET", "/links", "", 200, "[]"},
		{"PUT", "/links/go", `{"target":"https://go.dev"}`, 201, `"name":"go"`},
		{"PUT", "/links/go", `{"target":"https://go.dev/doc"}`, 200, "go.dev/doc"},
		{"PUT", "/links/bad", `{"target":"nowhere"}`, 422, "absolute"},
		{"PUT", "/links/bad", `{"target":"https://x.y","extra":1}`, 400, "extra"},
		{"PUT", "/links/bad", `{`, 400, "error"},
		{"GET", "/go/go", "", 302, "https://go.dev/doc"},
		{"GET", "/links/go", "", 200, `"hits":1`},
		{"GET", "/go/none", "", 404, "no such link"},
		{"DELETE", "/links/go", "", 204, ""},
		{"DELETE", "/links/go", "", 404, "no such link"},
		{"POST", "/links", "", 405, "Method Not Allowed"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		if w.Code != tt.code || !strings.Contains(w.Body.String()+w.Header().Get("Location"), tt.want) {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.method, tt.path, w.Code, w.Body, tt.code, tt.want)
		}
	}
}

func TestNamesAreDecoded(t *testing.T) {
	s := new(store.Store)
	h := Routes(API{Store: s})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/links/a%20b", strings.NewReader(`{"target":"https://go.dev"}`)))
	if _, err := s.Get("a b"); err != nil {
		t.Errorf("%v after %d %s", err, w.Code, w.Body)
	}
}
