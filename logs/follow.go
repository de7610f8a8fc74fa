// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"
)

const (
	// gather is how long a follower that has caught up waits before it looks again:
	// long enough for more than a line to come, short against the 100 ms in which a
	// line should appear. When nothing came it waits twice as long, and so on to
	// gatherMost; after that the kernel is asked to tell.
	gather     = 20 * time.Millisecond
	gatherMost = 40 * time.Millisecond
	// lookUnwatched is how often a spool is looked at that the kernel does not watch.
	lookUnwatched = 200 * time.Millisecond
	// lookWatched is how often one is that it does watch, in case it tells nothing.
	lookWatched = 5 * time.Second
	// retryAfter goes between attempts to do what has failed.
	retryAfter = time.Second
	// noteEvery is how often the position is noted, which bounds how much there is
	// to compare when a follower starts again.
	noteEvery = time.Second
)

// follower carries one container's log over. All but the last group of fields
// belongs to the goroutine that runs it.
type follower struct {
	Container
	logs *Logs
	log  klog.Logger
	note string // file of the position

	spool   spool
	out     output
	encoder encoder
	resumed bool
	noted   time.Time // when the position was
	dirty   bool      // something has been carried over since
	unkept  bool      // noting it has failed, and that was told
	delay   time.Duration
	watched bool // since the last look

	orders  orders // guarded by the mutex of Logs
	wake    chan struct{}
	reopens chan reopening
	done    chan struct{} // closed when the follower has ended
	failing atomic.Pointer[error]
}

// orders are what a follower is to do.
type orders struct {
	ended   bool // nothing more will come
	removed bool // the container is gone: what cannot be carried over is lost
	starts  int  // of the container: one end is not the next
}

// reopening is a request to go on in a new log.
type reopening struct {
	ctx   context.Context
	reply chan error
}

// found is what a look at the spool has found.
type found int

const (
	nothing found = iota
	some          // and it was all there is for now
	more          // and there is more
)

// run carries over until the container has ended and all is done, or the daemon
// ends.
func (f *follower) run() {
	defer close(f.done)
	defer f.close()
	for {
		seen := f.logs.orders(f)
		got, err := f.carry()
		f.report(err)
		f.keepNowAndThen()
		switch {
		case f.stopped():
			f.keep()
			return
		case err == nil && (got == more || got == some && seen.ended):
			f.serveReopen()
		case seen.ended && (err == nil || seen.removed):
			if f.leave(seen, err) {
				return
			}
		default:
			f.rest(f.pace(got, err))
		}
	}
}

// leave ends the follower of a container that has ended. It reports false where
// the container has been started again. After an error what is left is lost.
func (f *follower) leave(seen orders, err error) bool {
	f.keep()
	f.unwatch() // the next follower's watch is for the same path
	if !f.logs.leave(f, seen) {
		return false
	}
	if seen.removed {
		f.forgetPosition()
	}
	if err != nil {
		f.logs.count.losses.Add(1)
		f.log.Error(err, "the end of a removed container's log is lost", "container", f.ID)
	}
	return true
}

// pace is how long to rest after a look.
func (f *follower) pace(got found, err error) time.Duration {
	switch {
	case err != nil:
		f.unwatch()
		return retryAfter
	case got == some:
		f.unwatch()
		return f.delay
	case f.watched:
		return lookWatched
	case f.delay < gatherMost:
		f.delay *= 2
		return f.delay
	}
	f.keep()
	f.out.pending, f.encoder.parser.text = nil, nil // large, maybe
	if f.watched = f.logs.watch.add(f); f.watched {
		return 0 // something may have come before the watch
	}
	return lookUnwatched
}

// unwatch makes the follower look by itself again, soon.
func (f *follower) unwatch() {
	f.delay = gather
	if f.watched {
		f.logs.watch.remove(f)
		f.watched = false
	}
}

// rest waits until it is time to look again, or there is a reason to.
func (f *follower) rest(delay time.Duration) {
	late := time.NewTimer(delay)
	defer late.Stop()
	select {
	case <-late.C:
	case <-f.wake:
		f.unwatch()
	case <-f.logs.stop:
	case r := <-f.reopens:
		r.reply <- f.reopen(r.ctx)
	}
}

// nudge wakes the follower; one that is awake looks once more.
func (f *follower) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *follower) stopped() bool {
	select {
	case <-f.logs.stop:
		return true
	default:
		return false
	}
}

// carry carries one portion over.
func (f *follower) carry() (found, error) {
	if err := f.resume(); err != nil {
		return nothing, err
	}
	got, err := f.portion()
	if errors.Is(err, errDiverged) {
		err = f.search(true)
		f.resumed = err == nil
		return more, err
	}
	return got, err
}

// portions are buffers to read into; a follower that rests has none.
var portions = sync.Pool{New: func() any { return new([portionSize]byte) }}

func (f *follower) portion() (found, error) {
	if err := f.out.flush(); err != nil {
		return nothing, err
	}
	if err := f.spool.look(); err != nil {
		return nothing, err
	}
	buf := portions.Get().(*[portionSize]byte)
	defer portions.Put(buf)
	lines, err := f.spool.lines(buf[:], f.final)
	switch {
	case err != nil:
		return nothing, err
	case len(lines) > 0 || f.spool.lost:
		f.encode(lines)
	case f.spool.next != nil:
		f.spool.advance()
		f.dirty = true
		return more, nil
	default:
		return nothing, f.out.passed()
	}
	if err := f.out.flush(); err != nil {
		return nothing, err
	}
	if len(lines) > portionSize/2 {
		return more, nil
	}
	return some, nil
}

// final tells whether what has been read of the file is all it will ever have.
func (f *follower) final() bool { return f.spool.next != nil || f.logs.orders(f).ended }

// encode makes lines of the spool pending.
func (f *follower) encode(lines []byte) {
	f.dirty = true
	if f.spool.lost {
		// In the time of what came before, by which the place would be found again.
		f.out.pending = appendLine(f.out.pending, f.encoder.time(), "stderr", full, []byte(lossMark))
		f.spool.lost, f.noted = false, time.Time{}
		f.logs.count.losses.Add(1)
		f.log.Info("lines of a container log may be lost: they were written for longer than Docker keeps them, or cut off, before they were carried over", "container", f.ID)
	}
	before := f.encoder.foreign
	for line := range bytes.Lines(lines) {
		f.out.pending = f.encoder.line(f.out.pending, bytes.TrimSuffix(line, []byte{'\n'}))
	}
	f.logs.count.foreign.Add(f.encoder.foreign - before)
	f.logs.count.bytes.Add(int64(len(lines)))
}

// serveReopen does what somebody waits for, between two portions.
func (f *follower) serveReopen() {
	select {
	case r := <-f.reopens:
		r.reply <- f.reopen(r.ctx)
	default:
	}
}

// reopen goes on in a new log if the old one has been renamed.
func (f *follower) reopen(ctx context.Context) error {
	if err := f.resume(); err != nil {
		return err
	}
	if f.out.there != nil { // resuming has to go over both
		f.resumed = false
		return f.resume()
	}
	// The old file ends with a whole line.
	if err := f.out.flush(); err != nil {
		f.resumed = !errors.Is(err, errDiverged)
		return err
	}
	// After an error the kubelet puts the old file back, over the new one.
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := f.out.reopen(); err != nil {
		return err
	}
	f.dirty = true
	f.keep()
	return nil
}

// keepNowAndThen notes the position if that was not done for a while.
func (f *follower) keepNowAndThen() {
	if time.Since(f.noted) >= noteEvery {
		f.keep()
	}
}

// keep notes the position, if it has changed and if all before it is in the log.
// Where that fails, the follower would start again at an older one. The beginning
// of a file is not noted: there is nothing by which it could be known again.
func (f *follower) keep() {
	if !f.dirty || !f.resumed || f.spool.offset == 0 || f.out.there != nil || len(f.out.pending) > 0 {
		return
	}
	f.noted = time.Now()
	err := f.savePosition()
	if err != nil && !f.unkept {
		f.log.Error(err, "position in a container log not kept: after a restart there is more to compare", "container", f.ID)
	}
	f.dirty, f.unkept = err != nil, err != nil
}

func (f *follower) savePosition() error {
	at, err := f.spool.placeAt(f.spool.offset)
	if err != nil {
		return err
	}
	info, err := f.out.file.Stat()
	if err != nil {
		return err
	}
	p := position{Spool: at, Time: string(f.encoder.last)}
	p.Log.Inode, p.Log.Offset = inode(info), info.Size()
	return p.save(f.note)
}

func (f *follower) forgetPosition() {
	if err := removePosition(f.note); err != nil {
		f.log.Error(err, "position in a removed container's log stays", "container", f.ID)
	}
}

// report tells of a trouble when it begins and when it is over.
func (f *follower) report(err error) {
	was := f.failing.Load()
	switch {
	case err == nil && was != nil:
		f.failing.Store(nil)
		f.log.Info("container log is carried over again", "container", f.ID)
	case err != nil && (was == nil || (*was).Error() != err.Error()):
		f.failing.Store(&err)
		f.logs.count.failures.Add(1)
		f.log.Error(err, "container log not carried over; it is tried again", "container", f.ID, "path", f.Path)
	}
}

func (f *follower) close() {
	f.unwatch()
	f.spool.close()
	f.out.close()
}
