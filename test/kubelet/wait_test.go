// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// patience is enough for whatever should happen soon, on a busy machine too.
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
	if !soon(done) {
		t.Fatalf("not within %s: %s", patience, what)
	}
}

// soon waits for what may become true, and reports whether it did.
func soon(done func() bool) bool {
	start := time.Now()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for !done() {
		if time.Since(start) > patience {
			return false
		}
		<-look.C
	}
	return true
}

// atOnce is how many callers a repeated call has at the same time.
const atOnce = 10

// together makes the same call ten times at once, and returns what each said.
func together(call func() error) []error {
	said := make([]error, atOnce)
	var all errgroup.Group
	for i := range said {
		all.Go(func() error {
			said[i] = call()
			return nil
		})
	}
	_ = all.Wait() // what they said is in said
	return said
}

// successes counts the calls that said nothing.
func successes(said []error) (count int) {
	for _, err := range said {
		if err == nil {
			count++
		}
	}
	return count
}

// allOf is nil when all calls succeeded.
func allOf(said []error) error { return errors.Join(said...) }
