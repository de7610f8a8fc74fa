// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
)

func TestKeys(t *testing.T) {
	s := New(t.TempDir())
	for _, key := range []string{"", ".", "..", "a/b", "../a", ".a", "a b", "a\n", "ä"} {
		if _, err := s.Stage(key, nil); !errdefs.IsInvalidArgument(err) {
			t.Errorf("stage %q: %v", key, err)
		}
		if err := s.Remove(key); !errdefs.IsInvalidArgument(err) {
			t.Errorf("remove %q: %v", key, err)
		}
	}
	for _, key := range []string{"a", "-", "A_1.b-c", strings.Repeat("f", 64)} {
		if paths, err := s.Stage(key, nil); err != nil || len(paths) > 0 {
			t.Errorf("stage %q: %q, %v", key, paths, err)
		}
	}
	wantNothing(t, s)
}

func TestMountsThatMakeNoSense(t *testing.T) {
	for problem, m := range map[string]Mount{
		"needs a source":       {},
		"not both":             {Source: "/", Layers: []string{"/"}},
		"not an absolute path": {Source: "etc"},
		"not of an image":      {Source: "/", SubPath: "etc"},
		"out of the image":     {Layers: []string{"/"}, SubPath: "../etc"},
	} {
		s := New(filepath.Join(t.TempDir(), "staging"))
		_, err := s.Stage("key", []Mount{m})
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), problem) {
			t.Errorf("want %q, got %v", problem, err)
		}
		wantNothing(t, s)
	}
}

func TestSourceThatIsNotThere(t *testing.T) {
	w := world(t)
	s := New(w + "/staging")
	for _, source := range []string{"/nonexistent", "/dev/null/file"} {
		_, err := s.Stage("key", []Mount{{Source: source}})
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), source) {
			t.Errorf("got %v", err)
		}
		wantNothing(t, s)
	}
}

func TestPaths(t *testing.T) {
	w := sources(t)
	s := New(w + "/a/staging")
	paths, err := s.Stage("key", []Mount{{Source: w + "/dir"}, {Source: w + "/dir/script"}, {Layers: []string{w + "/dir"}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{s.dir + "/key/0/mount", s.dir + "/key/1/mount", s.dir + "/key/2/mount"}; !slices.Equal(paths, want) {
		t.Errorf("got %q, want %q", paths, want)
	}
	if info, err := os.Stat(s.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", info.Mode(), err)
	}
}

func TestAllOrNone(t *testing.T) {
	kernels(t, func(t *testing.T, _ bool) {
		w := sources(t)
		s := ready(t, w)
		all := mounted(t, w)
		for _, bad := range []Mount{{}, {Source: w + "/missing"}, {Layers: []string{w + "/dir"}, SubPath: "missing"}} {
			paths, err := s.Stage("key", []Mount{{Source: w}, {Layers: layers(t, w)}, bad})
			if err == nil || paths != nil {
				t.Errorf("got %q, %v", paths, err)
			}
			wantNothing(t, s)
			for _, link := range []string{"1/absolute", "1/out", "1/loop", "2/etc/deleted"} {
				_ = os.Remove(filepath.Join(w, link))
			}
		}
		if got := mounted(t, w); !slices.Equal(got, all) {
			t.Errorf("mounted %q, want %q", got, all)
		}
	})
}

// A daemon may be killed before its folder is ready; another finds it so.
func TestPrepare(t *testing.T) {
	for _, half := range []bool{false, true} {
		w := sources(t)
		s := New(w + "/staging")
		if half {
			write(t, w, map[string]string{"staging/": ""})
			bindAt(t, s.dir, s.dir)
		}
		var mounts []string
		for range 3 {
			ready(t, w)
			now := mounted(t, w)
			if mounts != nil && !slices.Equal(now, mounts) {
				t.Errorf("mounted again: %q, then %q", mounts, now)
			}
			mounts = now
		}
		if _, err := s.Stage("key", []Mount{{Source: w}}); err != nil {
			t.Error(err)
		}
		remove(t, s)
	}
}

func TestStageAgain(t *testing.T) {
	w := sources(t)
	s, path := stage(t, w, Mount{Source: w + "/dir"})
	f, err := os.Open(path + "/script")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, again := stage(t, w, Mount{Source: w + "/nodev/script"})
	if got := text(t, again); again != path || got != "#!/bin/true\n" {
		t.Errorf("read %q at %s", got, again)
	}
	if got := mounted(t, s.dir); !slices.Equal(got, []string{"/key/0/mount"}) {
		t.Errorf("mounted: %q", got)
	}
}

func TestKeysAtOnce(t *testing.T) {
	w := sources(t)
	image := layers(t, w)
	s := New(w + "/staging")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 5 {
				if _, err := s.Stage(strconv.Itoa(i), []Mount{{Source: w, ReadOnly: true}, {Layers: image}}); err != nil {
					t.Error(err)
				}
			}
			if err := s.Remove(strconv.Itoa(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	wantNothing(t, s)
}
