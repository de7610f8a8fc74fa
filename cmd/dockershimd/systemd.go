// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// tellSystemd says that the socket answers. Where no systemd asked, it does
// nothing.
func tellSystemd(log klog.Logger) {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Error(err, "systemd not told of readiness")
	}
}

// socketMode lets root and the socket's group in. Who may connect is root on
// the node, as with Docker's own socket.
const socketMode = 0o660

// listen opens the CRI endpoint: unix://PATH, a bare path, or fd:// for a socket
// that systemd has opened and passed on.
func listen(endpoint string) (net.Listener, error) {
	if strings.HasPrefix(endpoint, "fd://") {
		return inherited()
	}
	path := strings.TrimPrefix(endpoint, "unix://")
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("--container-runtime-endpoint %q: want unix:///PATH, /PATH or fd://", endpoint)
	}
	if err := clearSocket(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	// The mode is right from the start, not a moment later.
	old := unix.Umask(0o777 &^ socketMode)
	defer unix.Umask(old)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("serve on %s: %w", path, err)
	}
	return l, nil
}

// clearSocket removes a socket that a process which was killed has left behind.
// One that answers belongs to somebody who runs.
func clearSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the socket: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s is there and is no socket: move it away or choose another --container-runtime-endpoint", path)
	}
	if served(path) {
		return fmt.Errorf("another process serves %s: stop it first (cri-dockerd, or another dockershimd)", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the old socket: %w", err)
	}
	return nil
}

// closingTime is how long the socket of a process that was killed may go on to
// take connections: a child that it was just making holds it until its exec.
const closingTime = time.Second

// served tells whether a process listens on a socket, and goes on to do so.
func served(path string) bool {
	again := time.NewTicker(closingTime / 10)
	defer again.Stop()
	for end := time.Now().Add(closingTime); time.Now().Before(end); <-again.C {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		conn.Close()
	}
	return true
}

// inherited is the one socket that systemd passes for the unit's .socket.
func inherited() (net.Listener, error) {
	sockets, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take over systemd's socket: %w", err)
	}
	if len(sockets) != 1 || sockets[0] == nil {
		return nil, fmt.Errorf("fd:// needs exactly one socket from systemd, got %d: start the unit through its .socket, or use unix://PATH", len(sockets))
	}
	return sockets[0], nil
}
