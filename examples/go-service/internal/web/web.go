// Package web serves a store over HTTP. Its routes are generated from api/routes.txt.
package web

import (
	"encoding/json"
	"errors"
	"net/http"

	"example.com/shortlinks/internal/store"
)

// API implements Handlers over a store.
type API struct{ Store *store.Store }

var _ Handlers = API{}

func (a API) health(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (a API) list(w http.ResponseWriter, _ *http.Request) {
	links := a.Store.All()
	if links == nil {
		links = []store.Link{}
	}
	reply(w, http.StatusOK, links)
}

func (a API) get(w http.ResponseWriter, r *http.Request) {
	l, err := a.Store.Get(r.PathValue("name"))
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, l)
}

func (a API) put(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Target string `json:"target"`
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 8<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		reply(w, http.StatusBadRequest, problem{err.Error()})
		return
	}
	l, created, err := a.Store.Put(r.PathValue("name"), in.Target)
	switch {
	case err != nil:
		fail(w, err)
	case created:
		reply(w, http.StatusCreated, l)
	default:
		reply(w, http.StatusOK, l)
	}
}

func (a API) remove(w http.ResponseWriter, r *http.Request) {
	if err := a.Store.Remove(r.PathValue("name")); err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a API) follow(w http.ResponseWriter, r *http.Request) {
	l, err := a.Store.Follow(r.PathValue("name"))
	if err != nil {
		fail(w, err)
		return
	}
	http.Redirect(w, r, l.Target, http.StatusFound)
}

type problem struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, store.ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, store.ErrBadTarget):
		code = http.StatusUnprocessableEntity
	}
	reply(w, code, problem{err.Error()})
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The header is out: a client that went away cannot be told anything.
	_ = json.NewEncoder(w).Encode(v)
}
