// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
)

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "limits")
	s := NewStore(dir)
	wantKept(t, s, "a", Limits{})
	must(t, s.Forget("a"), s.Retain(nil)) // there is no directory yet
	first := Limits{HugePages: map[string]uint64{"2MB": 1 << 63}}
	second := Limits{Unified: map[string]string{"memory.high": "1"}}
	must(t, s.Keep("a", first), s.Keep("b", first), s.Keep("c", first), s.Keep("a", second))
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info, err)
	}
	put(t, filepath.Join(dir, "b.json.next"), "{")
	s = NewStore(dir)
	wantKept(t, s, "a", second)
	wantKept(t, s, "b", first)
	must(t, s.Forget("c"), s.Forget("c"), s.Retain(func(id string) bool { return id == "b" }))
	wantKept(t, s, "a", Limits{})
	wantKept(t, s, "b", first)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
}

func TestStoreRefusesWhatIsNoID(t *testing.T) {
	s := NewStore(t.TempDir())
	for _, id := range []string{"", "../a", "a/b"} {
		_, err := s.Kept(id)
		for _, err := range []error{err, s.Keep(id, Limits{}), s.Forget(id)} {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%q: %v", id, err)
			}
		}
	}
}

func TestStoreTellsWhatItCannotRead(t *testing.T) {
	s := NewStore(t.TempDir())
	put(t, filepath.Join(s.dir, "a.json"), "{")
	if l, err := s.Kept("a"); err == nil || !l.Empty() {
		t.Errorf("got %v, %v", l, err)
	}
}

func TestStoreIsUsedAtTheSameTime(t *testing.T) {
	s := NewStore(t.TempDir())
	var work sync.WaitGroup
	for i := range 8 {
		id := strconv.Itoa(i % 2)
		work.Go(func() { must(t, s.Keep(id, Limits{HugePages: map[string]uint64{"2MB": 1}})) })
		work.Go(func() { must(t, s.Retain(func(string) bool { return true })) })
		work.Go(func() {
			if _, err := s.Kept(id); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	wantKept(t, s, "1", Limits{HugePages: map[string]uint64{"2MB": 1}})
}

func wantKept(t *testing.T, s *Store, id string, want Limits) {
	t.Helper()
	if got, err := s.Kept(id); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("kept of %s is %v, %v, want %v", id, got, err, want)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}
