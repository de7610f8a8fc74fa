// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"

	"github.com/opencontainers/selinux/go-selinux/label"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// relabelMounts gives the files of the mounts that ask for it the SELinux label
// of the container, which the engine chooses for all containers of a sandbox.
// Without SELinux there are no labels.
func (s *Server) relabelMounts(ctx context.Context, id string, mounts []*cri.Mount) error {
	if !s.node.Load().SELinux {
		return nil
	}
	var own string
	for i, m := range mounts {
		if !m.GetSelinuxRelabel() || m.GetHostPath() == "" {
			continue
		}
		if own == "" {
			inspect, err := s.engine.ContainerInspect(ctx, id)
			if err != nil {
				return fmt.Errorf("inspect container %s: %w", id, err)
			}
			own = inspect.MountLabel
		}
		if err := label.Relabel(m.GetHostPath(), own, false); err != nil {
			return fmt.Errorf("config.mounts[%d].selinux_relabel: %w", i, err)
		}
	}
	return nil
}
