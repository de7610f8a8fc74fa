// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// obstacles are what can be in the way of a log.
var obstacles = map[string]func(t *testing.T, path string){
	"directory": func(t *testing.T, path string) { must(t, os.MkdirAll(path, 0o755)) },
	"link":      func(t *testing.T, path string) { must(t, os.Symlink("/dev/null", path)) },
	"link to nowhere": func(t *testing.T, path string) {
		must(t, os.Symlink(filepath.Join(filepath.Dir(path), "nowhere"), path))
	},
	"pipe":   func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o644)) },
	"socket": func(t *testing.T, path string) { must(t, unix.Mknod(path, unix.S_IFSOCK|0o644, 0)) },
	// Root may write everywhere, but not below a file.
	"file where the directory should be": func(t *testing.T, path string) {
		must(t, os.Remove(filepath.Dir(path)))
		writeFile(t, filepath.Dir(path), "precious")
	},
}

func TestOpenLogRefuses(t *testing.T) {
	for name, put := range obstacles {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app", "0.log")
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			put(t, path)
			file, err := openLog(path)
			if err == nil {
				file.Close()
			}
			if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), filepath.Dir(path)) {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), "nowhere")); err == nil {
				t.Error("the link was followed")
			}
		})
	}
}

func newOutput(t *testing.T) *output {
	o := &output{path: filepath.Join(t.TempDir(), "pod", "app", "0.log")}
	must(t, o.reopen())
	t.Cleanup(o.close)
	return o
}

func (o *output) add(t *testing.T, text string) {
	t.Helper()
	o.pending = append(o.pending, text...)
	if err := o.flush(); err != nil {
		t.Fatal(err)
	}
}

func TestOutputRemoved(t *testing.T) {
	o := newOutput(t)
	o.add(t, "one\n")
	must(t, os.Remove(o.path))
	o.add(t, "two\n")
	wantText(t, readFile(t, o.path), "two\n")
	must(t, os.RemoveAll(filepath.Dir(filepath.Dir(o.path))))
	o.add(t, "three\n")
	wantText(t, readFile(t, o.path), "three\n")
	// Half a line that went with the old file is written again.
	o.pending = append(o.pending, "four and five\nsix\n"...)
	must(t, o.write(o.file, o.pending[:4]), os.Remove(o.path))
	o.add(t, "")
	wantText(t, readFile(t, o.path), "four and five\nsix\n")
}

func TestOutputReplaced(t *testing.T) {
	o := newOutput(t)
	o.add(t, "one\n")
	must(t, os.Rename(o.path, o.path+".1"), o.reopen())
	o.add(t, "two\n")
	must(t, os.Rename(o.path+".1", o.path))
	o.pending = []byte("three\n")
	if err := o.flush(); !errors.Is(err, errDiverged) {
		t.Errorf("%v of a log that has less than was written", err)
	}
}

func TestOutputRenamed(t *testing.T) {
	o := newOutput(t)
	o.add(t, "one\n")
	must(t, os.Rename(o.path, o.path+".1"))
	o.add(t, "two\n")
	must(t, o.reopen())
	o.add(t, "three\n")
	wantText(t, readFile(t, o.path+".1"), "one\ntwo\n")
	wantText(t, readFile(t, o.path), "three\n")
}

func TestOutputDrop(t *testing.T) {
	o := output{pending: []byte("one\ntwo\n")}
	for _, want := range []struct {
		pending string
		begun   int
	}{{"one\ntwo\n", 2}, {"two\n", 0}, {"two\n", 2}, {"", 0}} {
		o.drop(2)
		if string(o.pending) != want.pending || o.begun != want.begun {
			t.Errorf("%q begun by %d, want %q by %d", o.pending, o.begun, want.pending, want.begun)
		}
	}
}

func TestOutputSince(t *testing.T) {
	o := newOutput(t)
	o.add(t, "one\ntwo\n")
	info, err := o.file.Stat()
	must(t, err)
	if ok, err := o.since(inode(info), 9); ok || err != nil {
		t.Error("a position beyond the end", ok, err)
	}
	for text, diverged := range map[string]bool{"two\n": false, "two\nthree\n": false, "tWo\n": true, "tw": false} {
		if ok, err := o.since(inode(info), 4); !ok || err != nil {
			t.Fatal(ok, err)
		}
		o.pending = []byte(text)
		err := o.pass()
		if err == nil && text == "tw" {
			err, diverged = o.passed(), true // more is there than the spool has
		}
		if errors.Is(err, errDiverged) != diverged {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOutputRotated(t *testing.T) {
	o := newOutput(t)
	for _, name := range []string{".20260101-000000.gz", ".20260101-000001", ".20260101-000002", ".20260101-000003.tmp", "x"} {
		writeFile(t, o.path+name, name)
	}
	must(t, os.Symlink(o.path, o.path+".20260101-000004"))
	later := time.Now().Add(time.Minute)
	must(t, os.Chtimes(o.path+".20260101-000002", later, later))
	old, err := o.rotated(func(fs.FileInfo) bool { return true })
	must(t, err)
	defer old.Close()
	if old.Name() != o.path+".20260101-000002" {
		t.Error(old.Name())
	}
	if none, err := o.rotated(func(fs.FileInfo) bool { return false }); none != nil || err != nil {
		t.Error(none, err)
	}
}

func TestEndLine(t *testing.T) {
	for text, want := range map[string]string{"": "", "a\n": "a\n", "a\nb": "a\nb\n", "\x00": "\x00\n"} {
		path := filepath.Join(t.TempDir(), "0.log")
		writeFile(t, path, text)
		file, err := openLog(path)
		must(t, err, endLine(file), file.Close())
		wantText(t, readFile(t, path), want)
	}
}
