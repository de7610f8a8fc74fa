// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// newFaultyNode uses a network whose last plugin is the faulty one.
func newFaultyNode(t *testing.T) *node {
	t.Helper()
	n := bareNode(t)
	n.installFaultyPlugin()
	n.writeConf("10.conflist", conflist("int-faulty", "10.66.0.0/24",
		`{"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}`, `{"type": "`+faultyPlugin+`"}`))
	n.awaitReady()
	n.keepBalance()
	return n
}

func named(name string) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) { c.Metadata.Name = name }
}

// TestPluginFails: the pod is told why, and what other plugins did is undone.
func TestPluginFails(t *testing.T) {
	n := newFaultyNode(t)
	before := n.inventory()
	config := n.podConfig(named(failsPod), withHostPort)
	for range 2 {
		_, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: config})
		if err == nil || !strings.Contains(err.Error(), faultyWords) {
			n.Fatalf("RunPodSandbox says %v, want the plugin's %q", err, faultyWords)
		}
		n.wantInventory(before)
	}
	if p := n.pod(withHostPort); !p.ready() {
		n.Error("another pod is not ready")
	}
}

// TestPluginHangs: a pod whose plugin hangs delays no other, and is undone when
// its caller gives up.
func TestPluginHangs(t *testing.T) {
	n := newFaultyNode(t)
	before := n.inventory()
	ctx, giveUp := context.WithCancel(n.Context())
	config := n.podConfig(named(hangsPod))
	ended := make(chan error, 1)
	go func() {
		_, err := n.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
		ended <- err
	}()
	eventually(n, "the pod is being attached", func() bool { return len(n.leases()) == 1 })
	for range 3 {
		start := time.Now()
		p := n.pod()
		n.removePod(p.id)
		if took := time.Since(start); took > 5*time.Second {
			n.Errorf("another pod took %s", took)
		}
	}
	select {
	case err := <-ended:
		n.Fatalf("the hanging pod ended by itself: %v", err)
	default:
	}
	giveUp()
	if err := <-ended; status.Code(err) != codes.Canceled {
		n.Errorf("given up, RunPodSandbox says %v", err)
	}
	eventually(n, "nothing of it is left", func() bool { return len(n.inventory()) == len(before) })
	n.wantInventory(before)
}
