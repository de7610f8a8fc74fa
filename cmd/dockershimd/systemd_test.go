// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "shim.sock")
	l, err := listen("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("a socket in use was taken over: %v", err)
	}
	// As a process that was killed leaves it.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	again, err := listen(path)
	if err != nil {
		t.Fatalf("a dead socket is in the way: %v", err)
	}
	again.Close()
}

func TestListenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range []string{file, "tcp://127.0.0.1:1", "relative.sock", "", "fd://"} {
		if l, err := listen(endpoint); err == nil {
			t.Errorf("%q: listens on %s", endpoint, l.Addr())
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a file that is no socket is gone: %v", err)
	}
}

// A child that was being made when its parent was killed holds the socket for a
// moment longer.
func TestSocketThatIsClosing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shim.sock")
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	closing := time.AfterFunc(closingTime/4, func() { l.Close() })
	defer closing.Stop()
	again, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
