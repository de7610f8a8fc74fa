// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// loopbacks are dialled in this order. A server of a pod mostly listens on
// IPv4, or on both.
var loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// Dial connects to a TCP port on the loopback of sandbox id's network
// namespace, by IPv4 or else by IPv6. It is FailedPrecondition when the
// namespace is not pinned, and Unavailable when nothing listens there.
func (n *Network) Dial(ctx context.Context, id string, port uint16) (net.Conn, error) {
	path := n.netns.path(id)
	if path == "" {
		return nil, fmt.Errorf("sandbox %s has no network: it is not set up yet, or gone: %w", id, errdefs.ErrFailedPrecondition)
	}
	return dialLoopback(ctx, port, func(address string) (net.Conn, error) { return dialIn(ctx, path, address) })
}

// DialNode is Dial in the node's own namespace, for pods that use it.
func (n *Network) DialNode(ctx context.Context, port uint16) (net.Conn, error) {
	return dialLoopback(ctx, port, func(address string) (net.Conn, error) { return dialHere(ctx, address) })
}

// dialLoopback tries the addresses one after the other.
func dialLoopback(ctx context.Context, port uint16, dial func(address string) (net.Conn, error)) (net.Conn, error) {
	if port == 0 {
		return nil, fmt.Errorf("port 0 is no port: want 1 to 65535: %w", errdefs.ErrInvalidArgument)
	}
	var first error
	for _, a := range loopbacks {
		conn, err := dial(netip.AddrPortFrom(a, port).String())
		if err == nil {
			return conn, nil
		}
		// The second one may fail for want of IPv6, which is not the reason.
		if first == nil {
			first = err
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("connect to port %d: %w", port, ctx.Err())
	case errors.Is(first, unix.ECONNREFUSED):
		return nil, fmt.Errorf("nothing listens on port %d of the pod, neither at 127.0.0.1 nor at ::1: %w", port, errdefs.ErrUnavailable)
	}
	return nil, fmt.Errorf("connect to port %d: %w", port, first)
}

func dialHere(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// dialIn dials in the network namespace at path. A socket belongs for good to
// the namespace of the thread that made it, which for an address that needs no
// lookup is the thread that calls Dial (net.sysDialer.dialSerial).
func dialIn(ctx context.Context, path, address string) (net.Conn, error) {
	type answer struct {
		conn net.Conn
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		runtime.LockOSThread()
		conn, err := func() (net.Conn, error) {
			home, err := netns.Get()
			if err != nil {
				return nil, fmt.Errorf("look at the own network namespace: %w", err)
			}
			defer home.Close()
			pod, err := netns.GetFromPath(path)
			if err != nil {
				return nil, fmt.Errorf("open the pod's network namespace: %w", err)
			}
			defer pod.Close()
			if err := netns.Set(pod); err != nil {
				return nil, fmt.Errorf("enter the pod's network namespace: %w", err)
			}
			conn, err := dialHere(ctx, address)
			if netns.Set(home) == nil {
				runtime.UnlockOSThread()
			} // Else the thread ends with this goroutine, which is still locked to it.
			return conn, err
		}()
		answers <- answer{conn, err}
	}()
	// The dial itself ends with ctx.
	a := <-answers
	return a.conn, a.err
}
