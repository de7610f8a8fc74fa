// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/signal"
	"syscall"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
)

// forward listens on local ports for ports of a pod, until standard input ends
// or a signal comes.
func forward(ctx context.Context, args []string, std streams) error {
	f, s := newFlags("forward", "spdy or websocket-tunnel", 0, std)
	address := f.String("address", "127.0.0.1", "the IP to listen on")
	if err := f.Parse(args); err != nil {
		return err
	}
	dialer, err := s.dialer()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() {
		defer stop()
		_, _ = io.Copy(io.Discard, std.in)
	}()

	ready := make(chan struct{})
	// Its output is for people. Nobody may be reading after our own lines, and
	// a full pipe would stop it.
	p, err := portforward.NewOnAddressesForStreamingWithContext(ctx, dialer, []string{*address}, f.Args(), ready, io.Discard, std.err)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- p.ForwardPorts() }()
	select {
	case err := <-ended:
		return err
	case <-ready:
	}
	ports, err := p.GetPorts()
	if err != nil {
		return err
	}
	for _, port := range ports {
		fmt.Fprintf(std.out, "forwarding %d -> %d\n", port.Local, port.Remote)
	}
	return <-ended
}

// dialer is client-go's for the protocol.
func (s *server) dialer() (httpstream.Dialer, error) {
	config, u, err := s.dial()
	if err != nil {
		return nil, err
	}
	switch s.protocol {
	case "spdy":
		transport, upgrader, err := spdy.RoundTripperFor(config)
		if err != nil {
			return nil, err
		}
		return spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, u), nil
	case "websocket-tunnel":
		return portforward.NewSPDYOverWebsocketDialerForStreamingWithLogger(klog.Background(), u, config)
	}
	return nil, fmt.Errorf("no protocol %q: there are spdy and websocket-tunnel", s.protocol)
}
