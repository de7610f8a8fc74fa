// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ListContainers answers from memory.
func (s *Server) ListContainers(_ context.Context, r *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	return &cri.ListContainersResponse{Containers: s.index.listContainers(r.GetFilter())}, nil
}

// StreamContainers is ListContainers in portions.
func (s *Server) StreamContainers(r *cri.StreamContainersRequest, stream grpc.ServerStreamingServer[cri.StreamContainersResponse]) error {
	return inPortions(s.index.listContainers(r.GetFilter()), func(part []*cri.Container) error {
		return stream.Send(&cri.StreamContainersResponse{Containers: part})
	})
}

// ContainerStatus answers from memory, but for the limits of a running
// container, which are read from the kernel.
func (s *Server) ContainerStatus(ctx context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	c, err := s.index.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	out := &cri.ContainerStatusResponse{Status: c.status}
	if c.running() {
		c = s.awaitProcess(ctx, c)
		out.Status = proto.Clone(c.status).(*cri.ContainerStatus)
		out.Status.Resources = s.currentResources(c)
	}
	if r.GetVerbose() {
		info := s.debugInfo(c.seen)
		info["sandboxID"] = c.sandboxID
		info["log"] = s.logInfo(c.inspect)
		info["user"] = c.inspect.Config.User
		info["labels"] = c.inspect.Config.Labels
		if limits, err := s.wantedLimits(c.seen); err == nil {
			info["cgroupLimits"] = limits
		}
		out.Info, err = infoMap(map[string]any{"info": info})
	}
	return out, err
}

// awaitProcess waits for a moment until the index knows the process of a
// container that has just been started, which the engine's event brings. If that
// does not come, the answer goes without.
func (s *Server) awaitProcess(ctx context.Context, c *workload) *workload {
	known := func() bool {
		if now, err := s.index.container(c.id()); err == nil {
			c = now
		}
		return c.inspect.State.Pid != 0 || !c.running()
	}
	if !known() && s.health.err() == nil {
		ctx, cancel := context.WithTimeout(ctx, settleTime)
		defer cancel()
		_ = s.index.await(ctx, known)
	}
	if c.running() && c.user == nil {
		s.identify(c) // the event's own question may still be on its way
		known()
	}
	return c
}
