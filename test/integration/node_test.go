// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// node is what a kubelet finds on its machine, in the hands of one test.
type node struct {
	*testing.T
	*daemon
	engine engine
}

// newNode starts a daemon that uses the built-in network, and waits until pods
// may come. All that the test makes must be gone when it ends.
func newNode(t *testing.T, flags ...string) *node {
	t.Helper()
	n := bareNode(t, append([]string{"--network-default=bridge"}, flags...)...)
	n.awaitReady()
	n.keepBalance()
	return n
}

// bareNode starts a daemon and waits for nothing.
func bareNode(t *testing.T, flags ...string) *node {
	t.Helper()
	needRig(t)
	n := &node{t, newDaemon(t, flags...), dialEngine(t)}
	n.engine.needImages(t)
	n.daemon.start(t)
	t.Cleanup(func() { n.end(t, syscall.SIGTERM) })
	return n
}

// sub runs a part of the test.
func (n *node) sub(name string, test func(n *node)) {
	n.Helper()
	n.Run(name, func(t *testing.T) { test(&node{t, n.daemon, n.engine}) })
}

// restart ends the daemon by the signal and starts it again.
func (n *node) restart(signal syscall.Signal) {
	n.Helper()
	n.end(n, signal)
	n.daemon.start(n.T)
	n.awaitReady()
}

func (n *node) awaitReady() {
	n.Helper()
	eventually(n, "runtime and network are ready", func() bool {
		return n.condition(cri.RuntimeReady).Status && n.condition(cri.NetworkReady).Status
	})
}

// condition is one of Status.
func (n *node) condition(name string) *cri.RuntimeCondition {
	n.Helper()
	// Also asked for in clean-ups, when the test's own context has ended.
	r, err := n.runtime.Status(context.Background(), &cri.StatusRequest{})
	n.must("Status", err)
	for _, c := range r.GetStatus().GetConditions() {
		if c.GetType() == name {
			return c
		}
	}
	n.Fatalf("no condition %s in %v", name, r)
	return nil
}

// must ends the test on an error.
func (n *node) must(what string, err error) {
	n.Helper()
	if err != nil {
		n.Fatalf("%s: %v", what, err)
	}
}

// wantCode checks the gRPC code of an error, and returns its message.
func (n *node) wantCode(what string, err error, want codes.Code) string {
	n.Helper()
	if status.Code(err) != want {
		n.Errorf("%s: code %s, want %s: %v", what, status.Code(err), want, err)
	}
	return status.Convert(err).Message()
}
