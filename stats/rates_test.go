// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"testing"
	"time"
)

func TestRates(t *testing.T) {
	var r Rates
	start := time.Now()
	for _, step := range []struct {
		about       string
		after       time.Duration
		total, want uint64
		known       bool
	}{
		{"the first reading", 0, 1000, 0, false},
		{"at once again", 100 * time.Millisecond, 1100, 0, false},
		{"after two seconds", 2 * time.Second, 3000, 1000, true},
		{"after ten", 10 * time.Second, 51000, 5000, true},
		{"at once again, over the time before", 10500 * time.Millisecond, 52500, 4904, true},
		{"idle", 20 * time.Second, 52500, 150, true},
		{"idle for long", 30 * time.Second, 52500, 0, true},
		{"the counter begins anew", 40 * time.Second, 10, 0, false},
		{"and goes on", 50 * time.Second, 110, 10, true},
	} {
		got, known := r.PerSecond("a", start.Add(step.after), step.total)
		if got != step.want || known != step.known {
			t.Errorf("%s: %d, %t; want %d, %t", step.about, got, known, step.want, step.known)
		}
	}
	if _, known := r.PerSecond("b", start, 1); known {
		t.Error("another counter has a rate at once")
	}
	r.Retain(func(name string) bool { return name == "b" })
	if _, known := r.PerSecond("a", start.Add(time.Minute), 1000); known {
		t.Error("a counter that was forgotten has a rate")
	}
}
