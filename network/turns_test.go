// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestTurnsExclude(t *testing.T) {
	turns := newTurns()
	var here [3]atomic.Int32
	var alone atomic.Int32
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			which := i % 3
			id := string(rune('a' + which))
			if err := turns.take(t.Context(), id); err != nil {
				t.Error(err)
			}
			if here[which].Add(1) > 1 || alone.Load() > 0 {
				t.Error("two at once")
			}
			here[which].Add(-1)
			turns.done(id)
		})
		all.Go(func() {
			if err := turns.takeAlone(t.Context()); err != nil {
				t.Error(err)
			}
			if alone.Add(1) > 1 || here[0].Load()+here[1].Load()+here[2].Load() > 0 {
				t.Error("not alone")
			}
			alone.Add(-1)
			turns.doneAlone()
		})
	}
	all.Wait()
}

func TestTurnsEndWithTheContext(t *testing.T) {
	turns := newTurns()
	if err := turns.take(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := turns.take(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("same sandbox: %v", err)
	}
	if err := turns.takeAlone(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("alone: %v", err)
	}
	if turns.tryTake("a") || !turns.tryTake("b") {
		t.Error("tryTake is wrong about who is busy")
	}
	// Those who stopped waiting left nothing behind.
	turns.done("a")
	turns.done("b")
	if err := turns.takeAlone(t.Context()); err != nil {
		t.Error(err)
	}
}
