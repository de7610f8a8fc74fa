// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

func attached(t *testing.T, n *node, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := n.Attach(t.Context(), pod(id)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCollectFreesWhatIsGone(t *testing.T) {
	n := newNode(t)
	attached(t, n, "gone", "kept")
	write(t, filepath.Join(n.config.NetnsDir, "dockershimd-onlyapin"), "")
	write(t, filepath.Join(n.config.NetnsDir, "cni-of-somebody-else"), "")
	n.restart(t)
	if err := n.Collect(t.Context(), []string{"kept", "never-attached"}); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "calls", summary(n.calls("DEL", "GC")), []string{"DEL main gone"})
	wantEqual(t, "left", n.left(), []string{
		filepath.Join(n.config.CacheDir, "attachments", "kept"),
		filepath.Join(n.config.CacheDir, "results", "test-kept-eth0"),
		filepath.Join(n.config.NetnsDir, "cni-of-somebody-else"),
		filepath.Join(n.config.NetnsDir, "dockershimd-kept"),
	})
}

func TestCollectRunsGC(t *testing.T) {
	n := newNode(t)
	n.writeConf("10-test.conflist", conflist("1.1.0", "main", "second"))
	n.restart(t)
	attached(t, n, "gone", "kept", "stuck")
	n.restart(t)
	n.behave("main", "DEL", "fail", "stuck")
	err := n.Collect(t.Context(), []string{"kept"})
	wantError(t, err, "collect sandbox stuck", "main refuses DEL")
	wantEqual(t, "calls", summary(n.calls("DEL", "GC")), []string{
		"DEL second gone", "DEL main gone", "DEL second stuck", "DEL main stuck", "DEL second stuck", "DEL main stuck", "GC main", "GC second",
	})
	for _, c := range n.calls("GC") {
		wantEqual(t, "valid attachments", c.Stdin.Valid, []types.GCAttachment{{ContainerID: "kept", IfName: "eth0"}, {ContainerID: "stuck", IfName: "eth0"}})
	}
	n.behave("main", "GC", "fail")
	wantError(t, n.Collect(t.Context(), []string{"kept", "stuck"}), "collect network test", "main refuses GC")
}

func TestCollectOfNothing(t *testing.T) {
	n := newNode(t)
	n.writeConf("10-test.conflist", conflist("1.1.0", "main"))
	n.restart(t)
	if err := n.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if c := n.calls("GC"); len(c) != 1 || c[0].Stdin.Valid == nil || len(c[0].Stdin.Valid) != 0 {
		t.Errorf("GC: got %+v, want one with an empty list", c)
	}
}

func TestCollectWithoutConfiguration(t *testing.T) {
	n := newNode(t)
	attached(t, n, "gone")
	if err := os.Remove(filepath.Join(n.config.ConfDir, "10-test.conflist")); err != nil {
		t.Fatal(err)
	}
	n.restart(t)
	if err := n.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	n.wantNothingLeft(t)
}

// A list of sandboxes may be older than an Attach. The next one is not.
func TestCollectSparesRecentOnce(t *testing.T) {
	n := newNode(t)
	n.writeConf("10-test.conflist", conflist("1.1.0", "main"))
	n.restart(t)
	attached(t, n, "s1")
	if err := n.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "calls", summary(n.calls("DEL", "GC")), []string{"GC main"})
	wantEqual(t, "valid attachments", n.calls("GC")[0].Stdin.Valid, []types.GCAttachment{{ContainerID: "s1", IfName: "eth0"}})
	if err := n.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	n.wantNothingLeft(t)
}

// While a plugin runs, neither is its sandbox collected nor does GC run; and
// waiting for it delays nobody.
func TestCollectWaitsForNobody(t *testing.T) {
	n := newNode(t)
	n.writeConf("10-test.conflist", conflist("1.1.0", "main"))
	n.restart(t)
	n.limits.quiet = 300 * time.Millisecond
	release := n.hold("main", "ADD", "slow")
	slow := make(chan error, 1)
	go func() {
		_, err := n.Attach(context.WithoutCancel(t.Context()), pod("slow"))
		slow <- err
	}()
	eventually(t, "the slow plugin runs", func() bool { return len(n.calls("ADD")) == 1 })
	n.takeRecent() // as if a Collect had been here since

	collected := make(chan error, 1)
	go func() { collected <- n.Collect(context.WithoutCancel(t.Context()), nil) }()
	attached(t, n, "s1") // while Collect waits for the slow one
	if err := <-collected; err != nil {
		t.Error(err)
	}
	wantEqual(t, "calls", summary(n.calls("DEL", "GC")), nil)
	release()
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

// Collect has its list of sandboxes and waits for a quiet moment; a pod that is
// attached meanwhile is in no list.
func TestGCSparesThoseAttachedMeanwhile(t *testing.T) {
	n := newNode(t)
	n.writeConf("10-test.conflist", conflist("1.1.0", "main"))
	n.restart(t)
	release := n.hold("main", "ADD", "slow")
	slow := make(chan error, 1)
	go func() {
		_, err := n.Attach(context.WithoutCancel(t.Context()), pod("slow"))
		slow <- err
	}()
	eventually(t, "the slow plugin runs", func() bool { return len(n.calls("ADD")) == 1 })
	collected := make(chan error, 1)
	go func() { collected <- n.Collect(context.WithoutCancel(t.Context()), nil) }()
	eventually(t, "Collect is under way", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.recent) == 0
	})
	attached(t, n, "meanwhile")
	release()
	if err := errors.Join(<-slow, <-collected); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "valid attachments", n.calls("GC")[0].Stdin.Valid,
		[]types.GCAttachment{{ContainerID: "meanwhile", IfName: "eth0"}, {ContainerID: "slow", IfName: "eth0"}})
}

func TestAttachWaitsForGC(t *testing.T) {
	n := newNode(t)
	n.writeConf("10-test.conflist", conflist("1.1.0", "main"))
	n.restart(t)
	n.limits.gc = 300 * time.Millisecond
	n.behave("main", "GC", "hang")
	collected := make(chan error, 1)
	go func() { collected <- n.Collect(context.WithoutCancel(t.Context()), nil) }()
	eventually(t, "GC runs", func() bool { return len(n.calls("GC")) == 1 })

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := n.Attach(ctx, pod("impatient")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Attach beside GC: error %v, want a deadline", err)
	}
	attached(t, n, "s1")
	if err := <-collected; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Collect: error %v, want a deadline", err)
	}
	wantEqual(t, "calls", summary(n.calls()), []string{"GC main", "ADD main s1"})
}

func TestUnreadableRecordHidesNoOther(t *testing.T) {
	n := newNode(t)
	attached(t, n, "s1", "s2")
	write(t, filepath.Join(n.config.CacheDir, "attachments", "s1"), "{")
	if err := os.Remove(filepath.Join(n.config.CacheDir, "results", "test-s1-eth0")); err != nil {
		t.Fatal(err)
	}
	n.restart(t)
	wantError(t, n.Collect(t.Context(), nil), "attachments/s1")
	wantEqual(t, "calls", summary(n.calls("DEL")), []string{"DEL main s2"})
}
