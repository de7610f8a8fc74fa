// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is enough for whatever should happen soon, on a busy machine too. A
// slow one says in PATIENCE how many times more it needs, such as 20x.
var patience = 10 * time.Second * time.Duration(slowness(os.Getenv("PATIENCE")))

func slowness(text string) int {
	if text == "" {
		return 1
	}
	times, err := strconv.Atoi(strings.TrimSuffix(text, "x"))
	if err != nil || times < 1 {
		panic(fmt.Sprintf("PATIENCE is %q, want a number of times such as 20x", text))
	}
	return times
}

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
