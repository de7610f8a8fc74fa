// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"
	"time"
)

// patience is enough for whatever should happen soon, on a busy machine too.
const patience = 10 * time.Second

// lookEvery is how often a condition that is waited for is looked at.
const lookEvery = 20 * time.Millisecond

// eventually waits for what should become true soon.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	within(t, patience, what, done)
}

// within waits for what must be true before the limit. It returns how long that took.
func within(t testing.TB, limit time.Duration, what string, done func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for !done() {
		if time.Since(start) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		<-look.C
	}
	return time.Since(start)
}
