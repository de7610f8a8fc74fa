// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"time"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PodSandboxStatus answers from memory, with the statuses of the sandbox's
// containers.
func (s *Server) PodSandboxStatus(_ context.Context, r *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	sb, err := s.index.sandbox(r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	out := &cri.PodSandboxStatusResponse{Status: sb.status, Timestamp: time.Now().UnixNano()}
	for _, c := range s.index.containersOf(sb.id()) {
		out.ContainersStatuses = append(out.ContainersStatuses, c.status)
	}
	if r.GetVerbose() {
		info := s.debugInfo(sb.seen)
		info["addresses"] = sb.addresses
		info["resolvConf"] = sb.inspect.ResolvConfPath
		info["resources"] = sb.resources
		out.Info, err = infoMap(map[string]any{"info": info})
	}
	return out, err
}

// ListPodSandbox answers from memory.
func (s *Server) ListPodSandbox(_ context.Context, r *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	return &cri.ListPodSandboxResponse{Items: s.index.listSandboxes(r.GetFilter())}, nil
}

// StreamPodSandboxes is ListPodSandbox in portions.
func (s *Server) StreamPodSandboxes(r *cri.StreamPodSandboxesRequest, stream grpc.ServerStreamingServer[cri.StreamPodSandboxesResponse]) error {
	return inPortions(s.index.listSandboxes(r.GetFilter()), func(part []*cri.PodSandbox) error {
		return stream.Send(&cri.StreamPodSandboxesResponse{PodSandboxes: part})
	})
}

// debugInfo is what a person who looks at one object wants to know beyond CRI.
func (s *Server) debugInfo(c seen) map[string]any {
	info := map[string]any{
		"dockerName":   c.name(),
		"pid":          c.inspect.State.Pid,
		"state":        c.inspect.State.Status,
		"image":        c.inspect.Image,
		"runtime":      c.inspect.HostConfig.Runtime,
		"cgroupParent": c.inspect.HostConfig.CgroupParent,
		"hostConfig":   c.inspect.HostConfig,
		"asOf":         c.at,
	}
	if c.running() {
		// It may not be there for a process that ends right now.
		if spec, err := bundleSpec(c.inspect.State.Pid, c.id()); err == nil {
			info["runtimeSpec"] = spec
		}
	}
	return info
}
