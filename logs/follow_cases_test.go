// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A line appears soon, however long the container has been silent, and whether or
// not Docker rotates.
func TestFollowSoon(t *testing.T) {
	t.Parallel()
	for _, capacity := range []int64{0, 1} {
		r := newRig(t)
		d := r.container("a", capacity, 3)
		for _, silence := range []time.Duration{0, 30 * time.Millisecond, 400 * time.Millisecond, 30 * time.Millisecond, 400 * time.Millisecond} {
			<-time.After(silence)
			at := time.Now()
			d.println("after %v", silence)
			r.eventuallyHas(d)
			// However slow the machine, it must not be the look at long intervals that finds it.
			if late := time.Since(at); late > lookWatched/2 {
				t.Errorf("%v late after %v", late, silence)
			}
		}
		r.end()
	}
}

func TestFollowBytes(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 2)
	d.print("stderr", "<&>\x00\xff\xfe\u2028 \"\\\t\n")
	d.print("stdout", "\n\nterminal\r\n")
	d.print("stdout", "no newline")
	r.eventuallyHas(d)
	if !strings.Contains(d.want.String(), " stdout P no newline\n") {
		t.Errorf("the test wants %q", d.want.String())
	}
	d.println(" but now")
	r.finish(d)
	r.wantLog(d)
}

func TestFollowOverRotations(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.container("a", 600, 30)
	for n := range 20 {
		d.println("awake %d", n)
		d.print("stdout", "part ")
		d.print("stdout", "of a line\n")
		<-time.After(time.Millisecond)
	}
	r.eventuallyHas(d)
	r.end() // nobody is there for three rotations
	for n := range 18 {
		d.println("away %d", n)
	}
	r.restart()
	r.Follow(d.Container)
	r.finish(d)
	r.wantLog(d)
	if n := r.Counts().Losses; n > 0 {
		t.Errorf("%d losses", n)
	}
}

// What is in the way of a log is refused at the start, and waited for later.
func TestFollowOverObstacles(t *testing.T) {
	t.Parallel()
	for name, put := range obstacles {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c := containerIn(r.dir, "a")
			must(t, os.MkdirAll(filepath.Dir(c.Path), 0o755))
			put(t, c.Path)
			if err := r.Prepare(c); err == nil {
				t.Fatal("prepared")
			}
			r.Follow(c)
			d := newDockerLog(t, c, 0, 2)
			d.println("hello")
			eventually(t, "trouble", func() bool { return r.Trouble("a") != nil })
			if n := r.Counts(); n.Failing != 1 || n.Following != 1 || n.Failures != 1 {
				t.Errorf("%+v", n)
			}
			if err := r.Reopen(t.Context(), "a"); err == nil {
				t.Error("reopened")
			}
			dir := filepath.Dir(c.Path)
			if info, err := os.Stat(dir); err == nil && !info.IsDir() {
				must(t, os.Remove(dir))
			} else {
				must(t, os.Remove(c.Path))
			}
			r.finish(d)
			r.wantLog(d)
			if n := r.Counts(); n.Failing != 0 || n.Following != 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// Starts and ends follow each other as fast as they can.
func TestFollowWhileFinishing(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 2)
	var all sync.WaitGroup
	for n := range 200 {
		r.Follow(d.Container)
		d.println("run %d", n)
		all.Go(func() { r.Finish(t.Context(), d.Container) })
	}
	all.Go(func() { r.finish(d) })
	all.Wait()
	r.wantLog(d)
}

// An idle container costs no more than a look in five seconds.
func TestFollowIsLazy(t *testing.T) {
	r := newRig(t)
	for n := range 50 {
		r.container(fmt.Sprint("idle", n), 0, 2).println("hello")
	}
	eventually(t, "all to be watched", func() bool {
		r.watch.mu.Lock()
		defer r.watch.mu.Unlock()
		return len(r.watch.resting) == 50
	})
	var begin, end syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &begin))
	<-time.After(time.Second)
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &end))
	if used := time.Duration(end.Utime.Nano() + end.Stime.Nano() - begin.Utime.Nano() - begin.Stime.Nano()); used > 200*time.Millisecond {
		t.Errorf("50 idle containers took %v of a second", used)
	}
}
