// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"context"
	"os"
	"testing"
	"time"
)

func newWatching(t *testing.T) *watch {
	w := newWatch(silent())
	if w.files == nil {
		t.Skip("the kernel grants no watches")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

func (f *follower) wantWoken(t *testing.T, want bool, after string) {
	t.Helper()
	limit := 10 * time.Second
	if !want {
		limit = 50 * time.Millisecond
	}
	select {
	case <-f.wake:
		if !want {
			t.Errorf("woken after %s", after)
		}
	case <-time.After(limit):
		if want {
			t.Errorf("not woken after %s", after)
		}
	}
}

func TestWatch(t *testing.T) {
	w := newWatching(t)
	c := containerIn(t.TempDir(), "a")
	newOne := func() *follower { return &follower{Container: c, wake: make(chan struct{}, 1)} }
	first, second := newOne(), newOne()
	if w.add(first) {
		t.Error("a file that is not there is watched")
	}
	d := newDockerLog(t, c, 0, 2)
	for what, happens := range map[string]func(){
		"a line":     func() { d.println("hello") },
		"a rotation": d.rotate,
		"a cut":      func() { must(t, os.Truncate(c.Spool, 0)) },
		"a removal":  func() { must(t, os.Remove(c.Spool)); d.open(os.O_APPEND) },
		"a loss":     w.fireAll,
	} {
		if !w.add(first) {
			t.Fatal("not watched")
		}
		first.wantWoken(t, false, "nothing")
		happens()
		first.wantWoken(t, true, what)
		w.remove(first)
	}
	d.println("hello")
	first.wantWoken(t, false, "the end of the watch")

	// The same file is watched again, for another one.
	if !w.add(second) {
		t.Fatal("not watched again")
	}
	d.println("hello")
	second.wantWoken(t, true, "a line")
	first.wantWoken(t, false, "a line of another's")
	w.remove(second)
	if list := w.files.WatchList(); len(list) > 0 || len(w.resting) > 0 {
		t.Errorf("%q and %v are left", list, w.resting)
	}
}

// Files that are renamed and removed while their watches end must not stop the
// events of others.
func TestWatchUnderRotations(t *testing.T) {
	w := newWatching(t)
	dir := t.TempDir()
	f := &follower{Container: containerIn(dir, "a"), wake: make(chan struct{}, 1)}
	d := newDockerLog(t, f.Container, 1, 2)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !closed(stop) {
			d.println("hello")
		}
	}()
	for range 2000 {
		if w.add(f) {
			f.wantWoken(t, true, "rotations")
		}
		w.remove(f)
	}
	close(stop)
	<-done
}

func TestNoWatch(t *testing.T) {
	w := &watch{}
	if w.add(&follower{}) {
		t.Error("watched by nothing")
	}
	w.run(t.Context())
	w.close()
}
