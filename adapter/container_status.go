// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"

	"google.golang.org/grpc"
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

// ContainerStatus answers from memory.
func (s *Server) ContainerStatus(_ context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	c, err := s.index.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	out := &cri.ContainerStatusResponse{Status: c.status}
	if r.GetVerbose() {
		info := s.debugInfo(c.seen)
		info["sandboxID"] = c.sandboxID
		info["log"] = s.logInfo(c.inspect)
		out.Info, err = infoMap(map[string]any{"info": info})
	}
	return out, err
}
