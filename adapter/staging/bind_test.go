// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// sources is a world with a directory, a file in it, symlinks to both and a
// mount that is nodev and noatime.
func sources(t *testing.T) string {
	t.Helper()
	w := world(t)
	write(t, w, map[string]string{"dir/script": "#!/bin/true\n", "nodev/": "", "dir/sub/": ""})
	for link, to := range map[string]string{"dirlink": "dir", "filelink": "dirlink/script"} {
		if err := os.Symlink(to, filepath.Join(w, link)); err != nil {
			t.Fatal(err)
		}
	}
	mount(t, "tmpfs", w+"/nodev", "tmpfs", unix.MS_NODEV|unix.MS_NOATIME)
	mount(t, "tmpfs", w+"/dir/sub", "tmpfs", 0)
	write(t, w, map[string]string{"nodev/script": "#!/bin/true\n", "dir/sub/script": "#!/bin/true\n"})
	for _, dir := range []string{"dir", "nodev", "dir/sub"} {
		if err := unix.Mknod(filepath.Join(w, dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// options are the flags that a mount has of those that interest us.
func options(t *testing.T, path string) int {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		t.Fatal(err)
	}
	return int(s.Flags) & (unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC | unix.ST_NOATIME)
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		name string
		Mount
		want int
	}{
		{"none", Mount{Source: "dir"}, 0},
		{"noexec", Mount{Source: "dir", NoExec: true}, unix.ST_NOEXEC},
		{"nosuid", Mount{Source: "dir", NoSUID: true}, unix.ST_NOSUID},
		{"nodev", Mount{Source: "dir", NoDev: true}, unix.ST_NODEV},
		{"read-only", Mount{Source: "dir", ReadOnly: true}, unix.ST_RDONLY},
		{"all", Mount{Source: "dir", ReadOnly: true, NoExec: true, NoSUID: true, NoDev: true}, unix.ST_RDONLY | unix.ST_NOEXEC | unix.ST_NOSUID | unix.ST_NODEV},
		{"a file", Mount{Source: "dir/script", NoExec: true, ReadOnly: true}, unix.ST_NOEXEC | unix.ST_RDONLY},
		{"a link to a directory", Mount{Source: "dirlink", NoExec: true}, unix.ST_NOEXEC},
		{"a link to a file", Mount{Source: "filelink", NoExec: true}, unix.ST_NOEXEC},
		{"a device", Mount{Source: "dir/null", NoDev: true}, unix.ST_NODEV},
		{"the source's own are kept", Mount{Source: "nodev", NoExec: true}, unix.ST_NOEXEC | unix.ST_NODEV | unix.ST_NOATIME},
		{"the source's own, if none is wanted", Mount{Source: "nodev"}, unix.ST_NODEV | unix.ST_NOATIME},
	} {
		t.Run(test.name, func(t *testing.T) {
			kernels(t, func(t *testing.T, _ bool) {
				w := sources(t)
				m := test.Mount
				m.Source = filepath.Join(w, m.Source)
				before := options(t, m.Source)
				s, path := stage(t, w, m)
				if got := options(t, path); got != test.want {
					t.Errorf("mounted with %#x, want %#x", got, test.want)
				}
				if got := options(t, m.Source); got != before {
					t.Errorf("the source has %#x now, it had %#x", got, before)
				}
				remove(t, s)
			})
		})
	}
}

func TestOptionsWork(t *testing.T) {
	kernels(t, func(t *testing.T, old bool) {
		w := sources(t)
		_, path := stage(t, w, Mount{Source: w + "/dir", NoExec: true, NoDev: true, ReadOnly: true})
		wantDenied := func(dir string) {
			t.Helper()
			if err := exec.Command(filepath.Join(path, dir, "script")).Run(); !errors.Is(err, unix.EACCES) {
				t.Errorf("execute in %q: %v", dir, err)
			}
			if f, err := os.Open(filepath.Join(path, dir, "null")); !errors.Is(err, unix.EACCES) {
				t.Errorf("open a device in %q: %v", dir, err)
				f.Close()
			}
		}
		wantDenied("")
		if !old {
			wantDenied("sub")
		}
		if err := os.WriteFile(path+"/new", nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("write: %v", err)
		}
		if err := os.WriteFile(path+"/sub/new", nil, 0o600); err != nil {
			t.Errorf("write to the mount below: %v", err)
		}
	})
}

func TestRecursiveReadOnly(t *testing.T) {
	kernels(t, func(t *testing.T, old bool) {
		w := sources(t)
		s := New(w + "/staging")
		paths, err := s.Stage("key", []Mount{{Source: w + "/dir", RecursiveReadOnly: true}})
		if old {
			if !errdefs.IsFailedPrecondition(err) {
				t.Errorf("on an old kernel: %v", err)
			}
			wantNothing(t, s)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"new", "sub/new"} {
			if err := os.WriteFile(filepath.Join(paths[0], name), nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("write %s: %v", name, err)
			}
		}
		write(t, w, map[string]string{"dir/new": "", "dir/sub/new": ""}) // the source is not
	})
}

// Docker's bind of a staged mount has to follow the source's mounts, and lead
// those of the container to it, as if it were a bind of the source.
func TestPropagation(t *testing.T) {
	kernels(t, func(t *testing.T, _ bool) {
		w := sources(t)
		s, path := stage(t, w, Mount{Source: w + "/dir", NoExec: true})
		write(t, w, map[string]string{"dir/later/": "", "dir/back/": ""})
		mount(t, "tmpfs", w+"/dir/later", "tmpfs", 0)
		mount(t, "tmpfs", path+"/back", "tmpfs", 0)
		if got := mounted(t, path); !slices.Equal(got, []string{"/sub", "/later", "/back"}) {
			t.Errorf("mounted in the staged mount: %q", got)
		}
		want := []string{"/sub", "/later", "/back"}
		if got := mounted(t, w+"/dir"); !slices.Equal(got, want) {
			t.Errorf("mounted in the source: %q", got)
		}
		remove(t, s)
		if got := mounted(t, w+"/dir"); !slices.Equal(got, want) {
			t.Errorf("mounted in the source after removal: %q", got)
		}
	})
}

func TestPropagationOfAPrivateSource(t *testing.T) {
	w := sources(t)
	mount(t, "", w, "", unix.MS_REC|unix.MS_PRIVATE)
	s, path := stage(t, w, Mount{Source: w + "/dir"})
	write(t, w, map[string]string{"dir/later/": ""})
	mount(t, "tmpfs", w+"/dir/later", "tmpfs", 0)
	if got := mounted(t, path); !slices.Equal(got, []string{"/sub"}) {
		t.Errorf("mounted in the staged mount: %q", got)
	}
	remove(t, s)
}

// A slave stays one: it gets what its master gets, and gives nothing back.
func TestPropagationOfASlave(t *testing.T) {
	kernels(t, func(t *testing.T, _ bool) {
		w := sources(t)
		write(t, w, map[string]string{"slave/": "", "dir/later/": "", "dir/back/": ""})
		mount(t, w+"/dir", w+"/slave", "", unix.MS_BIND)
		mount(t, "", w+"/slave", "", unix.MS_SLAVE)
		_, path := stage(t, w, Mount{Source: w + "/slave"})
		mount(t, "tmpfs", w+"/dir/later", "tmpfs", 0)
		mount(t, "tmpfs", path+"/back", "tmpfs", 0)
		if got := mounted(t, path); !slices.Equal(got, []string{"/later", "/back"}) {
			t.Errorf("mounted in the staged mount: %q", got)
		}
		if got := mounted(t, w+"/dir"); !slices.Equal(got, []string{"/sub", "/later"}) {
			t.Errorf("mounted in the master: %q", got)
		}
	})
}

// As a host path of "/" would.
func TestSourceHoldsTheStaging(t *testing.T) {
	kernels(t, func(t *testing.T, _ bool) {
		w := sources(t)
		s := ready(t, w)
		all := mounted(t, w)
		for range 2 { // the second has to remove the first
			paths, err := s.Stage("key", []Mount{{Source: w, NoExec: true}, {Source: w, NoDev: true}})
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				if got := mounted(t, path); !slices.Equal(got, []string{"/nodev", "/dir/sub"}) {
					t.Errorf("mounted in the staged mount: %q", got)
				}
			}
		}
		remove(t, s)
		if got := mounted(t, w); !slices.Equal(got, all) {
			t.Errorf("mounted %q, want %q", got, all)
		}
	})
}
