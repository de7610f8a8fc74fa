// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netns"
)

// greets listens and says its name to whoever comes; it returns the port.
func greets(t *testing.T, address, name string) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("cannot listen on %s: %v", address, err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, name)
			conn.Close()
		}
	}()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func wantGreeting(t *testing.T, conn net.Conn, err error, want string) {
	t.Helper()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	if text, err := io.ReadAll(conn); string(text) != want || err != nil {
		t.Errorf("%q, %v; want %q", text, err, want)
	}
}

func TestDialNode(t *testing.T) {
	n := &Network{}
	for name, address := range map[string]string{"IPv4": "127.0.0.1:0", "IPv6": "[::1]:0"} {
		conn, err := n.DialNode(t.Context(), greets(t, address, name))
		wantGreeting(t, conn, err, name)
	}
}

func TestDialRefused(t *testing.T) {
	n := &Network{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	if _, err := n.DialNode(t.Context(), port); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), fmt.Sprint(port)) {
		t.Errorf("error %v", err)
	}
	if _, err := n.DialNode(t.Context(), 0); !errdefs.IsInvalidArgument(err) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.DialNode(ctx, port); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	n.netns = &netnsDir{dir: t.TempDir()}
	if _, err := n.Dial(t.Context(), "nobody", port); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("error %v", err)
	}
}

// inside runs what has to happen in a namespace, on a thread that ends there.
func inside(t *testing.T, path string, what func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		// The main thread does not end with its goroutine, so each goes home.
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		ns, err := netns.GetFromPath(path)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			err = what()
		}
		if back := netns.Set(home); back == nil {
			runtime.UnlockOSThread()
		} else if err == nil {
			err = back
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestDialInNamespace reaches a server that listens on a loopback of its own.
func TestDialInNamespace(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	n := &Network{netns: &netnsDir{dir: "/run/netns"}}
	path, err := n.netns.pin("pod", pause(t, syscall.CLONE_NEWNET).Process.Pid)
	if err == nil {
		t.Cleanup(func() { _ = n.netns.unpin("pod") })
		err = n.netns.raiseLoopback(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	var v4, v6 uint16
	inside(t, path, func() error {
		v4, v6 = greets(t, "127.0.0.1:0", "IPv4"), greets(t, "[::1]:0", "IPv6")
		return nil
	})
	own := mustReadlink(t, "/proc/self/ns/net")
	files := countEntries(t, "/proc/self/fd")
	for range 200 {
		conn, err := n.Dial(t.Context(), "pod", v4)
		wantGreeting(t, conn, err, "IPv4")
		conn, err = n.Dial(t.Context(), "pod", v6)
		wantGreeting(t, conn, err, "IPv6")
	}
	if _, err := n.DialNode(t.Context(), v4); err == nil {
		t.Error("the pod's loopback is the node's")
	}
	if now := mustReadlink(t, "/proc/self/ns/net"); now != own {
		t.Errorf("the process is in %s, was in %s", now, own)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) > 100 {
		t.Errorf("%d threads, %v", len(threads), err)
	}
	for _, thread := range threads {
		if ns, err := os.Readlink("/proc/self/task/" + thread.Name() + "/ns/net"); err == nil && ns != own {
			t.Errorf("a thread is left in %s", ns)
		}
	}
	if now := countEntries(t, "/proc/self/fd"); now > files+5 {
		t.Errorf("%d files are open, there were %d", now, files)
	}
}

func mustReadlink(t *testing.T, path string) string {
	t.Helper()
	text, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func countEntries(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
