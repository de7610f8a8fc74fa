// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// logHas tells whether the text is in the log, which may not be there yet.
func logHas(c Container, text string) func() bool {
	return func() bool {
		log, _ := os.ReadFile(c.Path)
		return strings.Contains(string(log), text)
	}
}

// eventuallyHas waits until all that the container wrote is in its log.
func (r *rig) eventuallyHas(d *dockerLog) {
	r.t.Helper()
	eventually(r.t, "all is in the log", func() bool {
		log, _ := os.ReadFile(d.Path)
		return string(log) == d.want.String()
	})
}

// closed tells whether a channel is.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestFollow(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 100_000, 3)
	for n := range 20 { // each within one file, so that rests go between
		d.println("line %d", n)
		eventually(t, "the line is in the log", logHas(d.Container, fmt.Sprintf("line %d\n", n)))
	}
	d.print("stderr", strings.Repeat("long ", 10_000)+"\n")
	d.print("stdout", "no newline")
	r.finish(d)
	r.wantLog(d)
	if c := r.Counts(); c.Following != 0 || c.Losses != 0 || c.Bytes == 0 {
		t.Errorf("counts %+v", c)
	}
}

// TestFinishReturnsWhenAllIsThere finishes in the middle of a burst.
func TestFinishReturnsWhenAllIsThere(t *testing.T) {
	r := newRig(t)
	for n := range 5 {
		d := r.container(fmt.Sprint("c", n), 1<<20, 20)
		for range 30_000 {
			d.println("a line of a burst")
		}
		r.finish(d)
		r.wantLog(d)
	}
}

// TestReopenUnderLoad rotates the logs of several containers that write all the time.
func TestReopenUnderLoad(t *testing.T) {
	const containers, lines = 4, 20_000
	r := newRig(t)
	all := make([]*dockerLog, containers)
	var writing sync.WaitGroup
	for i := range all {
		d := r.container(fmt.Sprint("c", i), 1<<20, 20)
		all[i] = d
		writing.Go(func() {
			for n := range lines {
				d.println("line %d", n)
			}
		})
	}
	ended := make(chan struct{})
	go func() { writing.Wait(); close(ended) }()
	rotations := 0
	for ; !closed(ended); rotations++ {
		r.rotate(all[rotations%containers].Container)
	}
	for _, d := range all {
		r.finish(d)
		r.wantLog(d)
	}
	if rotations < containers {
		t.Errorf("only %d rotations", rotations)
	}
	if err := r.Reopen(t.Context(), "c0"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("reopen after the end: %v", err)
	}
}

// TestReopenGivenUp: the kubelet takes a renaming back, over a log that was
// reopened all the same, and that had lines already.
func TestReopenGivenUp(t *testing.T) {
	for name, then := range map[string]func(r *rig, d *dockerLog, back func()){
		"while it is written": func(_ *rig, d *dockerLog, back func()) { back(); d.println("after") },
		// The dead daemon has noted that all is done.
		"when all is written": func(r *rig, _ *dockerLog, back func()) { r.end(); back(); r.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			d := r.container("a", 0, 3)
			d.println("before")
			r.eventuallyHas(d)
			old := r.rotate(d.Container)
			d.println("in the log that is lost")
			eventually(t, "the second line", logHas(d.Container, "is lost"))
			then(r, d, func() { must(t, os.Rename(old, d.Path)) })
			r.finish(d)
			r.wantLog(d)
		})
	}
}

func TestRemovedLogComesBack(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 3)
	for n, remove := range []func() error{
		func() error { return os.Remove(d.Path) },
		func() error { return os.RemoveAll(filepath.Dir(d.Path)) },
	} {
		d.println("before %d", n)
		eventually(t, "the line before", logHas(d.Container, fmt.Sprint("before ", n)))
		must(t, remove())
		d.println("after %d", n)
		eventually(t, "the line after", logHas(d.Container, fmt.Sprint("after ", n)))
	}
}

// TestStartedAgain: somebody starts a container that has ended.
func TestStartedAgain(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 3)
	d.println("first life")
	r.finish(d)
	r.Follow(d.Container)
	d.open(os.O_APPEND)
	d.println("second life")
	eventually(t, "the second life's line", logHas(d.Container, "second life"))
	r.finish(d)
	r.finish(d)
	r.wantLog(d)
}

// TestWithoutInotify: the kernel grants no watches.
func TestWithoutInotify(t *testing.T) {
	r := newRig(t)
	r.blind = true
	r.restart()
	d := r.container("a", 1000, 3)
	for n := range 10 {
		d.println("line %d", n)
		eventually(t, "the line is in the log", logHas(d.Container, fmt.Sprintf("line %d\n", n)))
	}
	r.finish(d)
	r.wantLog(d)
}

// TestNothingIsLeft counts descriptors, goroutines and files.
func TestNothingIsLeft(t *testing.T) {
	r := newRig(t)
	descriptors := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(files)
	}
	round := func() {
		for n := range 10 {
			d := r.container(fmt.Sprint("c", n), 500, 3)
			for range 20 {
				d.println("a line")
			}
			r.rotate(d.Container)
			d.close()
			if n%2 == 0 {
				r.finish(d)
			}
			must(t, os.RemoveAll(filepath.Dir(d.Spool)))
			if err := r.Remove(t.Context(), d.ID); err != nil {
				t.Error(err)
			}
		}
	}
	round()
	files, goroutines := descriptors(), runtime.NumGoroutine()
	for range 3 {
		round()
	}
	eventually(t, "descriptors and goroutines are as before", func() bool {
		return descriptors() <= files && runtime.NumGoroutine() <= goroutines
	})
	if left, err := os.ReadDir(r.config.Dir); err != nil || len(left) > 0 {
		t.Errorf("positions are left: %v, %v", left, err)
	}
}

// TestFullDisk: one container's log cannot be written for a while. Another's is,
// and afterwards nothing is missing.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a file system that is full")
	}
	r := newRig(t)
	full, other := containerIn(r.dir, "full"), containerIn(r.dir, "other")
	dir := filepath.Dir(full.Path)
	must(t, os.MkdirAll(dir, 0o755))
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	d, o := r.container(full.ID, 0, 3), r.container(other.ID, 0, 3)
	for range 5000 {
		d.println("a line that finds no room")
	}
	eventually(t, "the trouble is known", func() bool { return r.Trouble(full.ID) != nil })
	o.println("as ever")
	eventually(t, "the other's line", logHas(other, "as ever"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := r.Finish(ctx, full); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("finish while it is full: %v", err)
	}
	if c := r.Counts(); c.Failing != 1 || c.Failures == 0 {
		t.Errorf("counts %+v", c)
	}
	if out, err := exec.Command("mount", "-o", "remount,size=10m", dir).CombinedOutput(); err != nil {
		t.Fatalf("make room: %v: %s", err, out)
	}
	r.finish(d)
	r.wantLog(d)
}

// TestGarbage: what is not Docker's is kept, and stops nothing.
func TestGarbage(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 3)
	d.println("before")
	d.write([]byte("garbage\n{\"log\":\"torn"))
	d.println("after")
	d.write([]byte(strings.Repeat("x", 3*portionSize) + "\n"))
	d.println("last")
	r.finish(d)
	log := readFile(t, d.Path)
	for _, want := range []string{"stdout F before\n", "stderr F " + foreignMark + "garbage\n", foreignMark + "{\"log\":\"torn\n", "stdout F after\n", "stdout F last\n"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in the log", want)
		}
	}
	if got := strings.Count(log, "x"); got != 3*portionSize {
		t.Errorf("%d of the bytes of a line without end", got)
	}
	if c := r.Counts(); c.Foreign == 0 {
		t.Errorf("counts %+v", c)
	}
}

// TestSpoolTamperedWith: somebody empties or removes Docker's file, as people do
// when a disk is full.
func TestSpoolTamperedWith(t *testing.T) {
	r := newRig(t)
	emptied, removed := r.container("emptied", 0, 3), r.container("removed", 0, 3)
	for _, d := range []*dockerLog{emptied, removed} {
		d.println("before")
		r.eventuallyHas(d)
	}
	must(t, os.Truncate(emptied.Spool, 0), os.Remove(removed.Spool))
	for _, d := range []*dockerLog{emptied, removed} {
		d.println("after")
		eventually(t, "the line after", logHas(d.Container, "after"))
	}
	r.finish(removed)
	r.wantLog(removed) // Docker has written to the file that was held
	r.finish(emptied)
	if got := r.Counts().Losses; got != 1 || !logHas(emptied.Container, lossMark)() {
		t.Errorf("%d losses, and the log is %q", got, readFile(t, emptied.Path))
	}
}

// TestIdleRests: a follower that has nothing to do is not woken.
func TestIdleRests(t *testing.T) {
	r := newRig(t)
	d := r.container("a", 0, 3)
	d.println("a line")
	eventually(t, "the follower rests", func() bool {
		r.watch.mu.Lock()
		defer r.watch.mu.Unlock()
		return r.watch.resting[d.Spool] != nil
	})
	p, noted := loadPosition(r.note(d.ID))
	if info, err := os.Stat(d.Spool); err != nil || !noted || p.Spool.Offset != info.Size() {
		t.Errorf("position %+v, %v", p, err)
	}
	d.println("another line")
	r.eventuallyHas(d)
}

// BenchmarkIdleFollower reports what a followed container costs that writes nothing.
func BenchmarkIdleFollower(b *testing.B) {
	const followers = 500
	for b.Loop() {
		dir := b.TempDir()
		l, err := New(stateIn(dir), silent())
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		before := memory()
		for n := range followers {
			c := containerIn(dir, fmt.Sprint("c", n))
			if err := l.Prepare(c); err != nil {
				b.Fatal(err)
			}
			d := newDockerLog(b, c, 0, 3)
			d.println("a line")
			d.close()
			l.Follow(c)
		}
		for resting := 0; resting < followers; <-time.After(10 * time.Millisecond) {
			l.watch.mu.Lock()
			resting = len(l.watch.resting)
			l.watch.mu.Unlock()
		}
		b.ReportMetric(float64(memory()-before)/followers, "B/follower")
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		l.Close()
	}
}

// memory is what is in use of heap and stacks.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
