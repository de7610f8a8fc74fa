// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/docker/docker/client"
)

// Call is one Engine API call that was made.
type Call struct {
	// Method is the name of the method, such as "ContainerStart".
	Method string
	// Object is the container's id or name, or the image's, as the caller gave
	// it; for ContainerCreate it is the new name. Empty where there is none.
	Object string
	// Request is what else was asked, such as a container.StopOptions; a
	// container.CreateRequest for ContainerCreate. Nil where there is nothing.
	Request any
}

// When says on which side of a call's effect a fault strikes.
type When int

const (
	// Before: the call has no effect.
	Before When = iota
	// After: the call takes effect, but its answer is lost. A pull is given up
	// by an engine whose caller is gone, so it has no effect either way.
	After
)

// faults is the gate that every call passes.
type faults struct {
	mu      sync.Mutex
	calls   []Call
	nth     map[int]fault
	hook    func(context.Context, string) error
	session chan struct{} // closed while the engine is down; made anew by Up
	resume  chan struct{} // closed by Resume; nil unless the engine hangs
}

// fault is what happens to one call; the zero value is nothing.
type fault struct {
	when   When
	err    error
	cancel context.CancelFunc
}

// FailNth makes the n-th call, counted from 1 since New or ResetCalls, return
// err. It strikes once, so that a retry succeeds.
func (e *Engine) FailNth(n int, when When, err error) {
	e.faults.set(n, fault{when: when, err: err})
}

// CancelNth calls cancel at the n-th call, counted as for FailNth. A call whose
// context ends by that returns the context's error, except that a call for a
// stream of a process tells of its closed connection only, as Docker's client.
func (e *Engine) CancelNth(n int, when When, cancel context.CancelFunc) {
	e.faults.set(n, fault{when: when, cancel: cancel})
}

// OnCall has hook called before each call with the name of its method, from the
// caller's goroutine and without any lock: it may block, and use the Engine.
// The call fails with hook's error, if any. A nil hook ends that.
func (e *Engine) OnCall(hook func(ctx context.Context, method string) error) {
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	e.faults.hook = hook
}

// Calls are the calls since New or ResetCalls, the failed ones included, in
// order of their arrival. ClientVersion asks no engine and is not among them.
func (e *Engine) Calls() []Call {
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	return slices.Clone(e.faults.calls)
}

// Count is how many of Calls are of the method.
func (e *Engine) Count(method string) int {
	count := 0
	for _, c := range e.Calls() {
		if c.Method == method {
			count++
		}
	}
	return count
}

// ResetCalls forgets the calls made so far; the next one is the first.
func (e *Engine) ResetCalls() {
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	e.faults.calls = nil
}

// Down makes each call fail as if nothing listened on the socket, and cuts the
// answers that are under way. The stream of a process is cut without an error,
// as if the process had ended: so the kernel closes the socket of an engine that
// was killed.
func (e *Engine) Down() {
	e.faults.end()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.containers {
		c.task.cut()
	}
	for _, c := range e.execs {
		c.cut()
		c.forgotten = true
	}
}

// Up ends Down. The containers are as the test left them, as if the engine had
// been configured with live-restore. The events and the ids of commands are
// forgotten, as an engine keeps them in memory only; the commands that ran go on.
func (e *Engine) Up() {
	e.journal.forget()
	e.faults.begin()
}

// Restart is Down and Up.
func (e *Engine) Restart() {
	e.Down()
	e.Up()
}

// Hang keeps each call, and the streams of events and of processes, waiting until
// Resume or the end of its context.
func (e *Engine) Hang() {
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	if e.faults.resume == nil {
		e.faults.resume = make(chan struct{})
	}
}

// Resume ends Hang.
func (e *Engine) Resume() {
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	if e.faults.resume != nil {
		close(e.faults.resume)
		e.faults.resume = nil
	}
}

// end is the end of the session, and of the answers of it.
func (f *faults) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !closed(f.session) {
		close(f.session)
	}
}

func (f *faults) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if closed(f.session) {
		f.session = make(chan struct{})
	}
}

func (f *faults) set(n int, what fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nth[n] = what
}

// arrive counts the call and tells what becomes of it: an error at once, or a
// fault that may strike after the effect.
func (f *faults) arrive(ctx context.Context, c Call) (fault, error) {
	set, hook := f.count(c)
	if err := set.strike(ctx, c.Method, Before); err != nil {
		return set, err
	}
	if err := ended(ctx, c.Method); err != nil {
		return set, err
	}
	if hook != nil {
		if err := hook(ctx, c.Method); err != nil {
			return set, err
		}
	}
	return set, f.wait(ctx, c.Method)
}

func (f *faults) count(c Call) (fault, func(context.Context, string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, c)
	n := len(f.calls)
	set := f.nth[n]
	delete(f.nth, n)
	return set, f.hook
}

// wait returns when the engine answers, or why it will not.
func (f *faults) wait(ctx context.Context, method string) error {
	for {
		session, resume := f.state()
		if closed(session) {
			return refused(ctx)
		}
		if resume == nil {
			return ended(ctx, method)
		}
		select {
		case <-resume:
		case <-session:
		case <-ctx.Done():
			return ended(ctx, method)
		}
	}
}

// waitInStream is wait for an answer that is under way: it is broken off when
// its session ends.
func (f *faults) waitInStream(ctx context.Context, session <-chan struct{}) error {
	if err := f.wait(ctx, "stream"); err != nil && !client.IsErrConnectionFailed(err) {
		return err
	}
	if closed(session) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// state returns the session and, if the engine hangs, what ends that.
func (f *faults) state() (session, resume <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.session, f.resume
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// strike does what the fault does at that moment; nil lets the call go on.
func (f fault) strike(ctx context.Context, method string, now When) error {
	if f.when != now {
		return nil
	}
	if f.cancel != nil {
		f.cancel()
		return ended(ctx, method)
	}
	return f.err
}

// ended is the error of a call whose context is over, else nil.
func ended(ctx context.Context, method string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// refused is the client's own error for a socket on which nobody listens: only
// the client can make one that client.IsErrConnectionFailed knows.
func refused(ctx context.Context) error {
	c, err := client.NewClientWithOpts(client.WithHost("unix:///nonexistent/docker.sock"))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Ping(ctx)
	return err
}
