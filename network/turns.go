// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"sync"
)

// turns decides whose plugins may run now. Plugins of one sandbox run one after
// another, those of different sandboxes side by side, and GC alone: CNI forbids
// ADD and DEL beside it. GC waits for a moment when nothing runs without holding
// anybody up, so a slow plugin puts off GC, never another pod.
type turns struct {
	mu      sync.Mutex
	busy    map[string]bool // sandboxes whose turn it is
	alone   bool            // GC's turn
	changed chan struct{}   // closed, and replaced, when a turn ends
}

func newTurns() *turns {
	return &turns{busy: map[string]bool{}, changed: make(chan struct{})}
}

// take waits for id's turn. done must follow, unless ctx ended first.
func (t *turns) take(ctx context.Context, id string) error {
	return t.wait(ctx, func() bool { return t.start(id) })
}

// tryTake is take for those who had rather come back later.
func (t *turns) tryTake(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.start(id)
}

// start begins id's turn if it may. t.mu is held.
func (t *turns) start(id string) bool {
	if t.alone || t.busy[id] {
		return false
	}
	t.busy[id] = true
	return true
}

func (t *turns) done(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.busy, id)
	t.signal()
}

// takeAlone waits until no turn is taken, then holds off new ones until
// doneAlone.
func (t *turns) takeAlone(ctx context.Context) error {
	return t.wait(ctx, func() bool {
		if t.alone || len(t.busy) > 0 {
			return false
		}
		t.alone = true
		return true
	})
}

func (t *turns) doneAlone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alone = false
	t.signal()
}

// signal makes all who wait try again. t.mu is held.
func (t *turns) signal() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *turns) wait(ctx context.Context, try func() bool) error {
	for {
		t.mu.Lock()
		ok, changed := try(), t.changed
		t.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
