// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

const (
	// backlogRoom is how much output waits for a slow client before the process
	// has to wait as well, as it would for a slow terminal.
	backlogRoom = 1 << 20
	// backlogEndRoom is more than the engine and the kernel hold of a process that
	// has ended, some 1.5 MB.
	backlogEndRoom = 4 << 20
	// backlogChunk is how much is handed to the client at a time. Chunks become
	// frames of the client's protocol.
	backlogChunk = 32 << 10
	// backlogLook is how often it is looked whether a process that waits for its
	// client has ended. The engine gives up after two seconds.
	backlogLook = 250 * time.Millisecond
)

// backlog is output on its way to a client that may read slowly.
//
// When a process has ended and its output is not fetched within two seconds,
// the engine drops the rest (20.10), or waits for it for ever (28.5: the
// command then never ends). So at an end everything is fetched at once, however
// slow the client is.
type backlog struct {
	to      io.Writer
	ended   func() bool   // whether the process has; asked while it waits
	patient time.Duration // how long the process may wait for a client that reads nothing; 0 is for ever
	filled  chan struct{} // capacity 1: there is something to hand on, or no more
	drained chan struct{} // capacity 1: there is room again
	writer  sync.WaitGroup

	mu      sync.Mutex
	waiting []byte
	room    int
	ending  bool // there is room for the rest
	closed  bool
	moved   time.Time // when the client last took something
	err     error     // why the client is lost
}

// errStalled ends the stream of a client that holds a container up.
var errStalled = fmt.Errorf("the client does not read its output, and would hold the container up: %w", errdefs.ErrAborted)

// newBacklog writes to the client until finish.
func newBacklog(to io.Writer, patient time.Duration, ended func() bool) *backlog {
	b := &backlog{
		to: to, ended: ended, patient: patient, room: backlogRoom, moved: time.Now(),
		filled: make(chan struct{}, 1), drained: make(chan struct{}, 1),
	}
	b.writer.Go(b.drain)
	return b
}

// Write returns when there was room for p, or the client is lost.
func (b *backlog) Write(p []byte) (int, error) {
	if b.put(p) {
		return len(p), b.clientError()
	}
	look := time.NewTicker(backlogLook)
	defer look.Stop()
	for !b.put(p) {
		select {
		case <-b.drained:
		case <-look.C:
			b.look(b.ended())
		}
	}
	return len(p), b.clientError()
}

// put tells whether p was taken. When the client is lost, it is dropped.
func (b *backlog) put(p []byte) (taken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) >= b.room && b.err == nil {
		return false
	}
	if b.err == nil {
		b.waiting = append(b.waiting, p...)
		wake(b.filled)
	}
	return true
}

// look decides whether the process has to wait any longer.
func (b *backlog) look(ended bool) {
	b.set(func() {
		if ended && !b.ending {
			b.ending, b.room = true, b.room+backlogEndRoom
		}
		if !b.ending && b.err == nil && b.patient > 0 && time.Since(b.moved) > b.patient {
			b.err, b.waiting = errStalled, nil
		}
	})
}

// finish returns when the client has everything, or is lost, and why. A write
// that has stalled ends with the client's connection, later.
func (b *backlog) finish() error {
	b.set(func() { b.closed = true })
	wake(b.filled)
	if err := b.clientError(); errors.Is(err, errStalled) {
		return err
	}
	b.writer.Wait()
	return b.clientError()
}

// drain hands on what waits, until there is no more.
func (b *backlog) drain() {
	var handed []byte
	for more := true; more; {
		handed, more = b.take(handed[:0])
		for part := range slices.Chunk(handed, backlogChunk) {
			_, err := b.to.Write(part)
			b.set(func() { b.moved, b.err = time.Now(), cmp.Or(b.err, err) })
			if err != nil {
				wake(b.drained)
				return
			}
		}
	}
}

// take waits for output and exchanges it for an empty buffer.
func (b *backlog) take(empty []byte) (waiting []byte, more bool) {
	<-b.filled
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting, b.waiting = b.waiting, empty
	wake(b.drained)
	return waiting, !b.closed
}

func (b *backlog) clientError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *backlog) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// wake signals on a channel of capacity 1; a signal that is already there will do.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
