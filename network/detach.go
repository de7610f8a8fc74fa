// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// Detach runs DEL with the configuration, arguments and result of the ADD, then
// removes the pin. It needs neither the configuration file nor the namespace
// nor the pause process. For an id that is unknown or detached already it
// returns nil.
//
// When a plugin fails, Detach returns the error and keeps all it needs for
// another try. After two minutes of failures it gives up, so that a plugin that
// is gone for good does not keep a pod for ever: it logs the error, unpins,
// returns nil, and leaves the rest to Collect.
func (n *Network) Detach(ctx context.Context, id string) error {
	if err := n.turns.take(ctx, id); err != nil {
		return fmt.Errorf("detach sandbox %s: wait for its turn: %w", id, err)
	}
	defer n.turns.done(id)
	if n.abandoned(id) {
		return nil
	}
	if err := n.detach(ctx, id); err != nil && !n.abandon(ctx, id, err) {
		return fmt.Errorf("detach sandbox %s: %w", id, err)
	}
	if err := n.netns.unpin(id); err != nil {
		return fmt.Errorf("detach sandbox %s: %w", id, err)
	}
	return nil
}

// detach is one try of DEL.
func (n *Network) detach(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, n.limits.del)
	defer cancel()
	if err := n.release(ctx, id); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.failing, id)
	delete(n.recent, id)
	return nil
}

// A failure is what is known of a sandbox whose DEL does not succeed.
type failure struct {
	since     time.Time
	abandoned bool
}

// abandon tells whether the DEL of id, which has just failed with err, has been
// failing for so long that Detach leaves it to Collect.
func (n *Network) abandon(ctx context.Context, id string, err error) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, again := n.failing[id]
	if !again {
		f.since = time.Now()
	}
	f.abandoned = time.Since(f.since) >= n.limits.abandon
	n.failing[id] = f
	if f.abandoned {
		delete(n.recent, id) // for Collect it need not exist any more
		klog.FromContext(ctx).Error(err, "giving up on detaching a sandbox; its addresses stay taken until a later collection succeeds",
			"sandbox", id, "failingSince", f.since)
	}
	return f.abandoned
}

func (n *Network) abandoned(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failing[id].abandoned
}
