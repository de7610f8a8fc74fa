// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/translate"
)

// UpdateContainerResources changes a container's limits; what is zero stays as
// it is. A repeated call changes nothing.
func (s *Server) UpdateContainerResources(ctx context.Context, r *cri.UpdateContainerResourcesRequest) (*cri.UpdateContainerResourcesResponse, error) {
	c, err := s.index.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	update, err := translate.UpdateBody(r.GetLinux())
	if err != nil {
		return nil, err
	}
	if _, err := s.engine.ContainerUpdate(ctx, c.id(), update); err != nil {
		return nil, fmt.Errorf("update container %s: %w", c.id(), err)
	}
	return &cri.UpdateContainerResourcesResponse{}, s.refresh(ctx, c.id())
}

// UpdatePodSandboxResources changes nothing: the pod's own cgroup is the
// kubelet's work, which takes any error but Unimplemented for a refusal of the
// whole resize.
func (s *Server) UpdatePodSandboxResources(_ context.Context, r *cri.UpdatePodSandboxResourcesRequest) (*cri.UpdatePodSandboxResourcesResponse, error) {
	_, err := s.index.sandbox(r.GetPodSandboxId())
	return &cri.UpdatePodSandboxResourcesResponse{}, err
}
