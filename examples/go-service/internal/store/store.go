// Package store keeps short links in memory.
package store

import (
	"cmp"
	"errors"
	"maps"
	"net/url"
	"slices"
	"sync"
)

// Link is a name and the address it stands for.
type Link struct {
	Name   string `json:"name"`
	Target string `json:"target"`
	Hits   int    `json:"hits"`
}

// Errors returned by Store.
var (
	ErrNotFound  = errors.New("no such link")
	ErrBadTarget = errors.New("target must be an absolute http or https address")
)

// Store is safe for concurrent use. The zero value is empty and ready.
type Store struct {
	mu    sync.Mutex
	links map[string]Link
}

// Put creates or replaces a link and tells whether it is new. Replacing keeps the count of hits.
func (s *Store) Put(name, target string) (Link, bool, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Link{}, false, ErrBadTarget
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links == nil {
		s.links = map[string]Link{}
	}
	old, existed := s.links[name]
	l := Link{Name: name, Target: target, Hits: old.Hits}
	s.links[name] = l
	return l, !existed, nil
}

// Get returns one link.
func (s *Store) Get(name string) (Link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.links[name]
	if !ok {
		return Link{}, ErrNotFound
	}
	return l, nil
}

// Follow is Get, counted as a hit.
func (s *Store) Follow(name string) (Link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.links[name]
	if !ok {
		return Link{}, ErrNotFound
	}
	l.Hits++
	s.links[name] = l
	return l, nil
}

// Remove forgets a link.
func (s *Store) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.links[name]; !ok {
		return ErrNotFound
	}
	delete(s.links, name)
	return nil
}

// All returns every link, sorted by name.
func (s *Store) All() []Link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.links), func(a, b Link) int { return cmp.Compare(a.Name, b.Name) })
}
