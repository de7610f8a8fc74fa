// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// layers makes an image of three: the middle one deletes a file and hides what
// a directory had, the top one changes a file.
func layers(t *testing.T, w string) []string {
	t.Helper()
	write(t, w, map[string]string{
		"1/etc/kept": "1", "1/etc/changed": "1", "1/etc/deleted": "1", "1/data/old": "1",
		"2/etc/": "", "2/data/new": "2",
		"3/etc/changed": "3",
	})
	if err := unix.Mknod(w+"/2/etc/deleted", unix.S_IFCHR, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(w+"/2/data", "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Skip("needs extended attributes on tmpfs: ", err)
	}
	for link, to := range map[string]string{"1/absolute": "/etc/kept", "1/out": "../../../etc", "1/loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(w, link)); err != nil {
			t.Fatal(err)
		}
	}
	return []string{w + "/3", w + "/2", w + "/1"}
}

// files reads all regular files in dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Type() != fs.ModeSymlink {
			all[strings.TrimPrefix(path, dir+"/")] = text(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImage(t *testing.T) {
	kernels(t, func(t *testing.T, _ bool) {
		w := world(t)
		m := Mount{Layers: layers(t, w), NoExec: true, RecursiveReadOnly: true}
		s := New(w + "/staging")
		paths, err := s.Stage("key", []Mount{m, m})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"etc/kept": "1", "etc/changed": "3", "data/new": "2"}
		for _, path := range paths {
			if got := files(t, path); !maps.Equal(got, want) {
				t.Errorf("the image has %v, want %v", got, want)
			}
			if got := options(t, path); got != unix.ST_RDONLY|unix.ST_NOEXEC {
				t.Errorf("mounted with %#x", got)
			}
			if err := os.WriteFile(path+"/etc/kept", nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("write: %v", err)
			}
		}
		remove(t, s)
		if got := files(t, w+"/1"); len(got) != 4 {
			t.Errorf("the lowest layer has %v now", got)
		}
	})
}

func TestImageOfOneLayer(t *testing.T) {
	w := world(t)
	s, path := stage(t, w, Mount{Layers: layers(t, w)[1:2]})
	if got := text(t, path+"/data/new"); got != "2" {
		t.Errorf("read %q", got)
	}
	if _, err := os.Stat(path + "/etc/deleted"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the layer deletes: %v", err)
	}
	if got := options(t, path); got != unix.ST_RDONLY {
		t.Errorf("mounted with %#x", got)
	}
	remove(t, s)
}

func TestSubPath(t *testing.T) {
	for _, test := range []struct{ path, file, want string }{
		{"", "etc/kept", "1"},
		{".", "etc/kept", "1"},
		{"etc", "changed", "3"},
		{"data/", "new", "2"},
		{"etc/kept", "", "1"},
		{"etc/../etc/kept", "", "1"},
		{"absolute", "", "1"},
		{"out", "kept", "1"},
		{"out/kept", "", "1"},
	} {
		t.Run(test.path, func(t *testing.T) {
			w := world(t)
			s, path := stage(t, w, Mount{Layers: layers(t, w), SubPath: test.path})
			if got := text(t, filepath.Join(path, test.file)); got != test.want {
				t.Errorf("read %q, want %q", got, test.want)
			}
			if got := options(t, path); got != unix.ST_RDONLY {
				t.Errorf("mounted with %#x", got)
			}
			remove(t, s)
		})
	}
	for _, path := range []string{"missing", "etc/deleted", "data/old", "etc/kept/below", "loop", "..", "../1", "etc/../..", "/etc"} {
		t.Run(path, func(t *testing.T) {
			w := world(t)
			s := New(w + "/staging")
			_, err := s.Stage("key", []Mount{{Layers: layers(t, w), SubPath: path}})
			if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), `"`+path+`"`) {
				t.Errorf("got %v", err)
			}
			wantNothing(t, s)
		})
	}
}

// manyLayers makes n layers with paths as long as Docker's.
func manyLayers(t *testing.T, w string, n int) (all []string) {
	t.Helper()
	for i := range n {
		layer := fmt.Sprintf("var/lib/docker/overlay2/%064d/diff", i)
		write(t, w, map[string]string{filepath.Join(layer, fmt.Sprint(i)): "", layer + "/top": fmt.Sprint(i)})
		all = append(all, filepath.Join(w, layer))
	}
	return all
}

func TestImageOfMostLayers(t *testing.T) {
	w := world(t)
	s, path := stage(t, w, Mount{Layers: manyLayers(t, w, 128)})
	if got := files(t, path); len(got) != 129 || got["top"] != "0" {
		t.Errorf("the image has %d files, the topmost is %q", len(got), got["top"])
	}
	remove(t, s)
}

func TestImageOfTooManyLayers(t *testing.T) {
	w := world(t)
	s := New(w + "/staging")
	_, err := s.Stage("key", []Mount{{Layers: manyLayers(t, w, 400*os.Getpagesize()/4096)}})
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "400 layers") {
		t.Errorf("got %v", err)
	}
	wantNothing(t, s)
}

func TestLayersOfAnyName(t *testing.T) {
	w := world(t)
	write(t, w, map[string]string{`a:b/1`: "", `c,d=e/2`: "", `f\:g\/3`: "", "h i\n/4": ""})
	_, path := stage(t, w, Mount{Layers: []string{w + `/a:b`, w + `/c,d=e`, w + `/f\:g\`, w + "/h i\n"}})
	if got := files(t, path); len(got) != 4 {
		t.Errorf("the image has %v", got)
	}
}

func TestLayerThatIsNotThere(t *testing.T) {
	w := world(t)
	write(t, w, map[string]string{"a/1": "", "file": ""})
	for _, layer := range []string{"missing", "file"} {
		s := New(w + "/staging")
		_, err := s.Stage("key", []Mount{{Layers: []string{w + "/a", filepath.Join(w, layer)}}})
		if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), filepath.Join(w, layer)) {
			t.Errorf("got %v", err)
		}
		wantNothing(t, s)
	}
}
