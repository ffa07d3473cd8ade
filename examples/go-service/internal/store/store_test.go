package store

import (
	"errors"
	"sync"
	"testing"
)

func TestPutRefusesWhatIsNoAddress(t *testing.T) {
	var s Store
	for _, target := range []string{"", "example.com", "/relative", "ftp://example.com", "http://", "javascript:alert(1)"} {
		if _, _, err := s.Put("x", target); !errors.Is(err, ErrBadTarget) {
			t.Errorf("Put(%q) = %v, want ErrBadTarget", target, err)
		}
	}
	if n := len(s.All()); n != 0 {
		t.Errorf("%d links were stored", n)
	}
}

func TestFollowCountsEveryHit(t *testing.T) {
	var s Store
	if _, created, err := s.Put("go", "https://go.dev"); err != nil || !created {
		t.Fatal(created, err)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := s.Follow("go"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if l, created, err := s.Put("go", "https://go.dev/doc"); err != nil || created || l.Hits != 100 {
		t.Errorf("got %+v created=%v err=%v, want 100 hits and not created", l, created, err)
	}
}

func TestAllIsSorted(t *testing.T) {
	var s Store
	for _, n := range []string{"c", "a", "b"} {
		if _, _, err := s.Put(n, "https://example.com/"+n); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Remove("b"); err != nil {
		t.Fatal(err)
	}
	all := s.All()
	if len(all) != 2 || all[0].Name != "a" || all[1].Name != "c" {
		t.Errorf("got %v", all)
	}
}
