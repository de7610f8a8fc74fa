// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"sync"
)

// flights lets callers who want the same thing share one attempt at it.
type flights struct {
	mu     sync.Mutex
	flying map[string]*flight
	wg     sync.WaitGroup
}

type flight struct {
	cancel  context.CancelFunc
	waiting int
	done    chan struct{}
	err     error // valid once done is closed
}

// do runs fly, or joins the run under way for the same key. The run keeps the
// values of its first caller's context, but goes on for as long as any caller
// waits for it.
func (f *flights) do(ctx context.Context, key string, fly func(context.Context) error) error {
	t := f.board(ctx, key, fly)
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		f.leave(key, t)
		return ctx.Err()
	}
}

func (f *flights) board(ctx context.Context, key string, fly func(context.Context) error) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.flying[key]; t != nil {
		t.waiting++
		return t
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &flight{cancel: cancel, waiting: 1, done: make(chan struct{})}
	if f.flying == nil {
		f.flying = map[string]*flight{}
	}
	f.flying[key] = t
	f.wg.Go(func() {
		defer cancel()
		t.err = fly(ctx)
		f.land(key, t)
		close(t.done)
	})
	return t
}

// leave gives the run up when nobody waits for it any more. Who comes next
// starts anew, even while this one is still coming to its end.
func (f *flights) leave(key string, t *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.waiting--; t.waiting == 0 {
		t.cancel()
		if f.flying[key] == t {
			delete(f.flying, key)
		}
	}
}

func (f *flights) land(key string, t *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flying[key] == t {
		delete(f.flying, key)
	}
}

// wait returns when no run is under way.
func (f *flights) wait() { f.wg.Wait() }
