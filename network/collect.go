// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"k8s.io/klog/v2"
)

// Collect frees what belongs to no sandbox: it runs DEL for attachments and
// removes pins of sandboxes that are not among ids, and then, once no other
// plugin runs, the network's GC with what is left.
//
// ids are the sandboxes that exist, listed after the previous Collect returned.
// Those attached since then count as existing too, so pods may start meanwhile.
// One Collect runs at a time. What fails is kept for the next one.
func (n *Network) Collect(ctx context.Context, ids []string) error {
	known, err := n.known()
	errs := []error{err}
	// In this order: what is known of a sandbox was written after it became recent.
	valid := n.takeRecent()
	for _, id := range ids {
		valid[id] = true
	}
	for _, id := range known {
		if valid[id] {
			continue
		}
		gone, err := n.collectSandbox(ctx, id)
		errs = append(errs, err)
		valid[id] = !gone // GC would have libcni try the same DEL again
	}
	errs = append(errs, n.collectNetwork(ctx, valid))
	return errors.Join(errs...)
}

// known lists all sandboxes of which there is an attachment or a pin.
func (n *Network) known() ([]string, error) {
	found, err := n.attachments("")
	pinned, pinErr := n.netns.ids()
	ids := pinned
	for _, a := range found {
		ids = append(ids, a.ContainerID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), errors.Join(err, pinErr)
}

// collectSandbox frees what a sandbox left that no longer exists. One that is
// being attached or detached right now is left alone.
func (n *Network) collectSandbox(ctx context.Context, id string) (gone bool, err error) {
	if !n.turns.tryTake(id) {
		return false, nil
	}
	defer n.turns.done(id)
	ctx, cancel := context.WithTimeout(ctx, n.limits.del)
	defer cancel()
	if err := errors.Join(n.release(ctx, id), n.netns.unpin(id)); err != nil {
		return false, fmt.Errorf("collect sandbox %s: %w", id, err)
	}
	n.mu.Lock()
	delete(n.failing, id)
	n.mu.Unlock()
	klog.FromContext(ctx).Info("freed the network of a sandbox that is gone", "sandbox", id)
	return true, nil
}

// collectNetwork runs GC, if the network in use has it, once no plugin runs. On
// a node too busy for that it leaves it to the next Collect.
func (n *Network) collectNetwork(ctx context.Context, valid map[string]bool) error {
	list, err := n.inUse()
	if err != nil { // Status tells
		return nil
	}
	quiet, cancel := context.WithTimeout(ctx, n.limits.quiet)
	defer cancel()
	if err := n.turns.takeAlone(quiet); err != nil {
		klog.FromContext(ctx).Info("network garbage collection put off: plugins are still running", "network", list.Name)
		return ctx.Err()
	}
	defer n.turns.doneAlone()
	ctx, cancel = context.WithTimeout(ctx, n.limits.gc)
	defer cancel()
	if err := n.cni.GCNetworkList(ctx, list, &libcni.GCArgs{ValidAttachments: n.validAttachments(valid)}); err != nil {
		return fmt.Errorf("collect network %s: %w", list.Name, err)
	}
	return nil
}

// validAttachments are those of valid and of the sandboxes attached meanwhile.
func (n *Network) validAttachments(valid map[string]bool) []types.GCAttachment {
	n.mu.Lock()
	for id := range n.recent {
		valid[id] = true
	}
	n.mu.Unlock()
	attachments := []types.GCAttachment{} // not nil: plugins read null as no list at all
	for _, id := range slices.Sorted(maps.Keys(valid)) {
		if valid[id] {
			attachments = append(attachments, types.GCAttachment{ContainerID: id, IfName: interfaceName})
		}
	}
	return attachments
}

// noteRecent makes id count as existing for the next Collect, whose list of
// sandboxes may be older.
func (n *Network) noteRecent(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recent[id] = true
}

func (n *Network) takeRecent() map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	recent := n.recent
	n.recent = map[string]bool{}
	return recent
}
