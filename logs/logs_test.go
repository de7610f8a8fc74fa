// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

func TestConfig(t *testing.T) {
	if err := (Config{Dir: "/var/lib/x"}).Validate(); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"", "x", "./x"} {
		if err := (Config{Dir: dir}).Validate(); err == nil {
			t.Errorf("%q is accepted", dir)
		}
		if _, err := New(Config{Dir: dir}, silent()); err == nil {
			t.Errorf("%q is used", dir)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "")
	if _, err := New(Config{Dir: file}, silent()); err == nil {
		t.Error("a file is used")
	}
}

func TestTwoAtOnce(t *testing.T) {
	r := newRig(t)
	if _, err := New(r.config, silent()); !errdefs.IsFailedPrecondition(err) {
		t.Error(err)
	}
	r.end()
	second, err := New(r.config, silent())
	must(t, err)
	must(t, second.Close())
}

func TestPrepare(t *testing.T) {
	r := newRig(t)
	c := containerIn(r.dir, "a")
	// A link that an older shim left, and after that a log without an end.
	must(t, os.MkdirAll(filepath.Dir(c.Path), 0o755), os.Symlink("/nowhere/x-json.log", c.Path))
	must(t, r.Prepare(c))
	wantText(t, readFile(t, c.Path), "")
	must(t, r.Remove(t.Context(), "a"))
	writeFile(t, c.Path, "an earlier container")
	must(t, r.Prepare(c), r.Prepare(c))
	r.Follow(c)
	d := newDockerLog(t, c, 0, 2)
	d.println("hello")
	r.finish(d)
	wantText(t, readFile(t, c.Path), "an earlier container\n"+d.want.String())
}

func TestFinishOfNothing(t *testing.T) {
	r := newRig(t)
	c := containerIn(r.dir, "a")
	must(t, r.Finish(t.Context(), c))
	if _, err := os.Stat(c.Path); err == nil {
		t.Error("a log of a container that has never been started")
	}
}

// A log that is complete is left alone, also where it was removed; one that a
// power cut has cut is not complete.
func TestFinishAgain(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 2)
	d.println("one")
	d.println("two")
	r.finish(d)
	r.restart()
	must(t, os.Remove(d.Path))
	r.finish(d)
	if _, err := os.Stat(d.Path); err == nil {
		t.Error("a log that was removed after the end is back")
	}
	for name, left := range map[string]int64{"shorter": -2, "zeros": 0} {
		d := r.container(name, 0, 2)
		d.println("one")
		d.println("two")
		r.finish(d)
		size := int64(d.want.Len())
		must(t, os.Truncate(d.Path, size-2), os.Truncate(d.Path, size+left))
		r.restart()
		r.finish(d)
		r.wantLog(d)
	}
}

func TestFinishGivesUp(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 2)
	r.eventuallyHas(d)
	must(t, os.Remove(d.Path), os.Mkdir(d.Path, 0o755))
	d.println("hello")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := r.Finish(ctx, d.Container)
	if !errors.Is(err, context.DeadlineExceeded) || !errdefs.IsFailedPrecondition(err) {
		t.Error(err)
	}
	// It goes on all the same.
	must(t, os.Remove(d.Path))
	eventually(t, "the end", func() bool { return r.Counts().Following == 0 })
	r.wantLog(d)
}

func TestReopenWhenEnded(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 2)
	r.finish(d)
	if err := r.Reopen(t.Context(), "a"); !errdefs.IsFailedPrecondition(err) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Follow(d.Container)
	d.open(os.O_APPEND)
	d.println("hello")
	r.eventuallyHas(d)
	must(t, os.Rename(d.Path, d.Path+".1"))
	for range 20 {
		if err := r.Reopen(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if _, err := os.Stat(d.Path); err == nil {
		t.Error("reopened for nobody")
	}
}

func TestRemove(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 2)
	d.println("last words")
	r.eventuallyHas(d)
	must(t, os.RemoveAll(filepath.Dir(d.Spool)))
	d.println("very last words")
	must(t, r.Remove(t.Context(), "a"), r.Remove(t.Context(), "a"))
	r.wantLog(d)
	if left, _ := os.ReadDir(r.config.Dir); len(left) > 0 || r.Counts().Following > 0 {
		t.Errorf("%v are left, and %+v", left, r.Counts())
	}
}

// What a removed container's log cannot take is lost, and counted.
func TestRemoveWithoutLog(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 2)
	d.println("one")
	r.eventuallyHas(d)
	must(t, os.Remove(d.Path), os.Mkdir(d.Path, 0o755))
	d.println("two")
	eventually(t, "trouble", func() bool { return r.Trouble("a") != nil })
	must(t, r.Remove(t.Context(), "a"))
	if n := r.Counts(); n.Following != 0 || n.Losses != 1 || n.Failing != 0 {
		t.Errorf("%+v", n)
	}
}

func TestRetain(t *testing.T) {
	r := newRig(t)
	for _, id := range []string{"known", "unknown"} {
		r.container(id, 0, 2)
	}
	writeFile(t, filepath.Join(r.config.Dir, "crashed"+nextSuffix), "")
	must(t, r.Retain(t.Context(), func(id string) bool { return id == "known" }))
	entries, err := os.ReadDir(r.config.Dir)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "known" || r.Counts().Following != 1 {
		t.Errorf("%v are left, and %+v", entries, r.Counts())
	}
}

func TestNothingStartsAtTheEnd(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 2)
	r.end()
	r.Follow(containerIn(r.dir, "b"))
	if err := r.Finish(t.Context(), d.Container); !errdefs.IsUnavailable(err) {
		t.Error(err)
	}
	if err := r.Reopen(t.Context(), "b"); !errdefs.IsFailedPrecondition(err) {
		t.Error(err)
	}
}

func TestCounts(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 2)
	d.println("one")
	d.write([]byte("foreign\n"))
	r.Nudge("a")
	r.Nudge("nobody")
	size := d.size
	r.finish(d)
	if got, want := r.Counts(), (Counts{Bytes: size, Foreign: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := r.Trouble("a"); err != nil {
		t.Error(err)
	}
}
