// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// container is the one of a fake runtime; the test writes its log.
type container struct {
	*testing.T
	cri.UnimplementedRuntimeServiceServer
	endpoint string
	path     string
	ended    atomic.Bool
	asked    atomic.Int32 // for the status, how often
}

func newContainer(t *testing.T) *container {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	c := &container{T: t, endpoint: "unix://" + socket, path: filepath.Join(dir, "0.log")}
	listener, err := net.Listen("unix", socket)
	c.must(err)
	server := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(server, c)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		c.must(<-served)
	})
	c.writes("")
	return c
}

// Version is what clients begin with.
func (c *container) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{Version: "0", RuntimeName: "fake", RuntimeVersion: "0", RuntimeApiVersion: "v1"}, nil
}

// ContainerStatus knows the container c.
func (c *container) ContainerStatus(_ context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	c.asked.Add(1)
	if r.GetContainerId() != "c" {
		return nil, errors.New("no such container")
	}
	s := &cri.ContainerStatus{
		Id: "c", Metadata: &cri.ContainerMetadata{Name: "c"}, Image: &cri.ImageSpec{Image: "i"}, ImageRef: "i", CreatedAt: 1,
		State: cri.ContainerState_CONTAINER_RUNNING, LogPath: c.path,
	}
	if c.ended.Load() {
		s.State = cri.ContainerState_CONTAINER_EXITED
	}
	return &cri.ContainerStatusResponse{Status: s}, nil
}

// writes adds to the log, and makes it where it is not there.
func (c *container) writes(entries string) {
	c.Helper()
	f, err := os.OpenFile(c.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	c.must(err)
	_, err = f.WriteString(entries)
	c.must(errors.Join(err, f.Close()))
}

func (c *container) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}
