// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/dockershimd/dockershimd/adapter"
	"github.com/dockershimd/dockershimd/adapter/staging"
	"github.com/dockershimd/dockershimd/logs"
	"github.com/dockershimd/dockershimd/network"
	"github.com/dockershimd/dockershimd/streaming"
)

const (
	// maxMessage is the size of a gRPC message that kubelets allow as well.
	maxMessage = 16 << 20
	// drainTime is how long calls under way may take to end at a stop.
	drainTime = 10 * time.Second
)

// run serves until ctx ends. Whatever part ends first ends the rest.
func run(ctx context.Context, o options) error {
	log := klog.Background()
	defer klog.Flush()
	engine, err := adapter.Dial(o.adapter.Endpoint)
	if err != nil {
		return err
	}
	defer engine.Close()
	pods, err := network.New(o.network)
	if err != nil {
		return err
	}
	carrier, err := logs.New(o.logs, log)
	if err != nil {
		return err
	}
	defer carrier.Close()
	streams, err := streaming.New(o.streams)
	if err != nil {
		return err
	}
	defer streams.Close()
	cgroups, err := adapter.NodeCgroups(filepath.Join(o.root, "cgroups"))
	if err != nil {
		return err
	}
	shim, err := adapter.New(adapter.Parts{
		Engine: engine, Network: pods, Streams: streams, Logs: carrier,
		Cgroups: cgroups, Staging: staging.New(filepath.Join(o.root, "mounts")),
	}, o.adapter, log)
	if err != nil {
		return err
	}
	listener, err := listen(o.listen)
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.UnaryInterceptor(shim.Unary), grpc.StreamInterceptor(shim.Stream),
	)
	shim.Register(server)
	log.Info("serving CRI", "version", version, "endpoint", listener.Addr().String(), "streams", streams.Addr().String(), "engine", o.adapter.Endpoint)

	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return pods.Run(klog.NewContext(ctx, log)) })
	parts.Go(func() error { return carrier.Run(ctx) })
	parts.Go(func() error { return shim.Run(klog.NewContext(ctx, log)) })
	parts.Go(func() error { return streams.Run(klog.NewContext(ctx, log), shim) })
	parts.Go(func() error { return serve(ctx, server, listener) })
	tellSystemd(log)
	if err := parts.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("stopped")
	return nil
}

// serve answers until ctx ends, then lets the calls under way come to their
// end, for a while.
func serve(ctx context.Context, server *grpc.Server, listener net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve CRI: %w", err)
	case <-ctx.Done():
	}
	hard := time.AfterFunc(drainTime, server.Stop)
	defer hard.Stop()
	server.GracefulStop()
	return <-failed
}
