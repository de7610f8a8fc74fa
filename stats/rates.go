// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"sync"
	"time"
)

const (
	// shortest is the least time that a rate is taken over: below it, the ticks by
	// which a kernel counts show.
	shortest = time.Second
	// renewed is the age at which a reading gives way to a new one. The kubelet
	// asks every ten seconds, and others may ask in between.
	renewed = 5 * time.Second
)

// Rates remembers readings of counters, by a name, to tell how fast they grow.
// The zero value is ready.
type Rates struct {
	mu   sync.Mutex
	last map[string]readings
}

// readings are the newest that is kept and the one before it.
type readings struct{ older, newer reading }

type reading struct {
	at    time.Time
	total uint64
}

// PerSecond takes a reading of a counter, and tells how much it has grown a
// second since an earlier one. known is false for as long as there is none that
// is old enough, or where the counter has begun anew.
func (r *Rates) PerSecond(name string, at time.Time, total uint64) (rate uint64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, seen := r.last[name]
	now := reading{at, total}
	before := kept.newer
	if seen && at.Sub(before.at) < shortest {
		before = kept.older
	}
	switch {
	case !seen || total < kept.newer.total:
		r.keep(name, readings{newer: now})
		return 0, false
	case at.Sub(kept.newer.at) >= renewed:
		r.keep(name, readings{kept.newer, now})
	}
	passed := at.Sub(before.at)
	if before.at.IsZero() || passed < shortest {
		return 0, false
	}
	return uint64(float64(total-before.total) / passed.Seconds()), true
}

// keep expects the lock to be held.
func (r *Rates) keep(name string, what readings) {
	if r.last == nil {
		r.last = map[string]readings{}
	}
	r.last[name] = what
}

// Retain forgets the counters that are not known any more.
func (r *Rates) Retain(known func(name string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.last {
		if !known(name) {
			delete(r.last, name)
		}
	}
}
