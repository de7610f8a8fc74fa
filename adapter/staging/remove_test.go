// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func TestRemoveWhatIsNotThere(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/nonexistent/staging"} {
		if err := New(dir).Remove("key"); err != nil {
			t.Error(err)
		}
	}
}

func TestRemoveWhatIsInUse(t *testing.T) {
	w := sources(t)
	s, path := stage(t, w, Mount{Source: w + "/dir"})
	f, err := os.Create(path + "/open")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	remove(t, s)
	if _, err := f.WriteString("late"); err != nil {
		t.Error(err)
	}
	if got := text(t, w+"/dir/open"); got != "late" {
		t.Errorf("the source has %q", got)
	}
	remove(t, s)
}

// What a daemon leaves that was killed while it staged, or while it removed.
func TestHalfMade(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, w, folder string){
		"the key":            func(*testing.T, string, string) {},
		"the mount's folder": func(t *testing.T, _, folder string) { write(t, folder, map[string]string{"0/": ""}) },
		"points": func(t *testing.T, _, folder string) {
			write(t, folder, map[string]string{"0/image/": "", "0/mount/": ""})
		},
		"a point for a file": func(t *testing.T, _, folder string) { write(t, folder, map[string]string{"0/mount": ""}) },
		"the image":          func(t *testing.T, w, folder string) { bindAt(t, w+"/dir", folder+"/0/image") },
		"a bind":             func(t *testing.T, w, folder string) { bindAt(t, w+"/dir", folder+"/0/mount") },
		"a bind of all":      func(t *testing.T, w, folder string) { bindAt(t, w, folder+"/0/mount") },
		"a bind twice": func(t *testing.T, w, folder string) {
			bindAt(t, w+"/dir", folder+"/0/mount")
			bindAt(t, w+"/nodev", folder+"/0/mount")
		},
		"the second bind": func(t *testing.T, w, folder string) {
			write(t, folder, map[string]string{"0/image/": ""})
			bindAt(t, w+"/dir", folder+"/1/mount")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := sources(t)
			s := ready(t, w)
			before := mounted(t, w)
			for range 2 {
				write(t, s.dir, map[string]string{"key/": ""})
				leave(t, w, s.dir+"/key")
				remove(t, s)
				if got := mounted(t, w); !slices.Equal(got, before) {
					t.Errorf("mounted %q, want %q", got, before)
				}
			}
			leave(t, w, s.dir+"/key")
			if _, err := s.Stage("key", []Mount{{Source: w + "/dir"}}); err != nil {
				t.Error(err)
			}
			remove(t, s)
			if got := text(t, w+"/dir/sub/script"); got != "#!/bin/true\n" {
				t.Errorf("the source has %q", got)
			}
		})
	}
}

func bindAt(t *testing.T, source, point string) {
	t.Helper()
	if err := os.MkdirAll(point, 0o700); err != nil {
		t.Fatal(err)
	}
	mount(t, source, point, "", unix.MS_BIND|unix.MS_REC)
}

func TestRemoveDeletesNothing(t *testing.T) {
	w := sources(t)
	for name, calls := range map[string][]uint32{
		"if nothing can be made private": {unix.SYS_MOUNT},
		"if nothing can be unmounted":    {unix.SYS_UMOUNT2},
	} {
		t.Run(name, func(t *testing.T) {
			s, path := stage(t, w, Mount{Source: w + "/dir"})
			refuse(t, unix.EPERM, calls...)
			if err := s.Remove("key"); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
			if err := removeFolder(s.dir + "/key"); err == nil {
				t.Error("a folder was removed with mounts in it")
			}
			if got := text(t, w+"/dir/sub/script"); got != "#!/bin/true\n" {
				t.Errorf("the source has %q", got)
			}
		})
	}
	remove(t, New(w+"/staging"))
}

// A container that is started again after a reboot may write to bare points.
func TestRemoveKeepsWhatIsNotOurs(t *testing.T) {
	for _, file := range []string{"0/mount/file", "0/mount", "0/image/file", "0/file", "0/mount/folder/"} {
		t.Run(file, func(t *testing.T) {
			s := New(t.TempDir())
			write(t, s.dir, map[string]string{"key/" + file: "text"})
			err := s.Remove("key")
			if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), s.dir+"/key/0") {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "key", file)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRemoveBehindASymlink(t *testing.T) {
	w := sources(t)
	if err := os.Mkdir(w+"/real", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", w+"/staging"); err != nil {
		t.Fatal(err)
	}
	s, _ := stage(t, w, Mount{Source: w + "/dir"})
	remove(t, s)
	wantNothing(t, New(w+"/real"))
}

// elsewhere makes a mount namespace and returns the path of its mountinfo. It
// gets the mounts that are made here where they are shared.
func elsewhere(t *testing.T) string {
	t.Helper()
	made, done, ended := make(chan string), make(chan struct{}), make(chan struct{})
	go func() { // on a thread of its own, which ends with it
		defer close(ended)
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNS)
		path, _ := filepath.EvalSymlinks("/proc/thread-self")
		if err != nil {
			path = "no namespace: " + err.Error()
		}
		made <- path
		<-done
	}()
	t.Cleanup(func() { close(done); <-ended })
	return <-made + "/mountinfo"
}

// An engine there must not find bare mount points.
func TestNothingIsSeenElsewhere(t *testing.T) {
	w := sources(t)
	there := elsewhere(t)
	s, _ := stage(t, w, Mount{Source: w + "/dir"})
	root := strings.TrimSuffix(there, "mountinfo") + "root"
	if left, err := os.ReadDir(root + s.dir); len(left) > 0 || err != nil {
		t.Errorf("elsewhere is %v, %v", left, err)
	}
	if _, err := os.Stat(root + w + "/dir/sub/script"); err != nil {
		t.Error(err)
	}
}

// A namespace that is made later has copies, which must go too.
func TestRemoveWithCopiesElsewhere(t *testing.T) {
	w := sources(t)
	s, path := stage(t, w, Mount{Source: w + "/dir"})
	there := elsewhere(t)
	if copies := text(t, there); !strings.Contains(copies, path+"/sub ") {
		t.Errorf("not copied: %s", copies)
	}
	remove(t, s)
	if copies := text(t, there); strings.Contains(copies, path) || !strings.Contains(copies, w+"/dir/sub ") {
		t.Errorf("mounted elsewhere: %s", copies)
	}
	if got := mounted(t, w+"/dir"); !slices.Equal(got, []string{"/sub"}) {
		t.Errorf("mounted in the source: %q", got)
	}
}

func TestRetain(t *testing.T) {
	w := sources(t)
	s := New(w + "/staging")
	for _, key := range []string{"a", "b", "c", "d"} {
		if _, err := s.Stage(key, []Mount{{Source: w + "/dir"}, {Source: w + "/dir/script"}}); err != nil {
			t.Fatal(err)
		}
	}
	write(t, s.dir, map[string]string{"b/file": "not ours"})
	err := s.Retain(func(key string) bool { return key == "c" })
	if err == nil || !strings.Contains(err.Error(), "mounts of b: ") {
		t.Errorf("got %v", err)
	}
	if got := mounted(t, s.dir); !slices.Equal(got, []string{"/c/0/mount", "/c/0/mount/sub", "/c/1/mount"}) {
		t.Errorf("still mounted: %q", got)
	}
	if left, _ := filepath.Glob(s.dir + "/*"); !slices.Equal(left, []string{s.dir + "/b", s.dir + "/c"}) {
		t.Errorf("left: %q", left)
	}
}

func TestRetainWithoutAFolder(t *testing.T) {
	if err := New("/nonexistent/staging").Retain(nil); err != nil {
		t.Error(err)
	}
}
