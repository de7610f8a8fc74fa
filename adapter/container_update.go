// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/adapter/cgroup"
	"github.com/dockershimd/dockershimd/translate"
)

// UpdateContainerResources changes a container's limits, all or none; what is
// zero stays as it is. A repeated call changes nothing.
func (s *Server) UpdateContainerResources(ctx context.Context, r *cri.UpdateContainerResourcesRequest) (_ *cri.UpdateContainerResourcesResponse, err error) {
	found, err := s.index.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	update, notices, err := translate.UpdateBody(s.node.Load().Facts, r.GetLinux())
	if err != nil {
		return nil, err
	}
	logNotices(ctx, notices)
	_, unlock, err := s.lockSandbox(ctx, found.sandboxID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := s.index.container(found.id()) // what was found before the lock may be out of date
	if err != nil {
		return nil, err
	}
	if err := s.checkDecrease(c, update.Engine.Memory); err != nil {
		return nil, err
	}
	var u undo
	defer u.onError(ctx, &err)
	// Last, since what restores the engine's limits changes others, as below.
	u.add("limit the cgroup again", func(ctx context.Context) error { return s.limitCgroup(ctx, c.seen) })
	if err = s.updateCgroup(ctx, &u, c, cgroup.Limits(update.Cgroup)); err != nil {
		return nil, fmt.Errorf("update container %s: %w", c.id(), err)
	}
	// The kernel may take some of the engine's values and then refuse one.
	u.add("restore the limits", func(ctx context.Context) error {
		_, err := s.engine.ContainerUpdate(ctx, c.id(), translate.RestoreBody(c.inspect.HostConfig))
		return err
	})
	if _, err = s.engine.ContainerUpdate(ctx, c.id(), update.Engine); err != nil {
		return nil, fmt.Errorf("update container %s: %w", c.id(), err)
	}
	// With any update runc writes the weight of processor time and the limit of swap
	// that it knows, and systemd whether all processes are killed together.
	if err = s.limitCgroup(ctx, c.seen); err != nil {
		return nil, fmt.Errorf("update container %s: %w", c.id(), err)
	}
	u = nil // it is done, and stays, also if the answer to the next question fails
	return &cri.UpdateContainerResourcesResponse{}, s.refresh(ctx, c.id())
}

// checkDecrease refuses a memory limit below what the container uses, which the
// kernel would enforce by killing processes.
func (s *Server) checkDecrease(c *workload, limit int64) error {
	if limit == 0 || !c.running() {
		return nil
	}
	used, err := s.cgroups.MemoryInUse(c.inspect.State.Pid)
	if err != nil {
		if errdefs.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("memory of container %s: %w", c.id(), err)
	}
	if used > uint64(limit) {
		return fmt.Errorf("linux.memory_limit_in_bytes: %d is below the %d bytes that container %s uses: %w", limit, used, c.id(), errdefs.ErrFailedPrecondition)
	}
	return nil
}

// updateCgroup changes the limits that the engine has no words for. They are
// kept first: a daemon that is killed in between sets them when it is back.
func (s *Server) updateCgroup(ctx context.Context, u *undo, c *workload, limits cgroup.Limits) error {
	if limits.Empty() {
		return nil
	}
	kept, err := s.cgroups.Kept(c.id())
	if err != nil {
		return err
	}
	u.add("forget the new limits", func(context.Context) error { return s.cgroups.Keep(c.id(), kept) })
	if err := s.cgroups.Keep(c.id(), limits.Over(kept)); err != nil {
		return err
	}
	if !c.running() {
		return nil
	}
	// Those that nobody may fail for come later, with all others again.
	must, _ := sortLimits(limits)
	if must.Empty() {
		return nil
	}
	driver := s.node.Load().CgroupDriver
	before, err := s.cgroups.Apply(ctx, c.inspect.State.Pid, must, driver)
	if err != nil {
		return err
	}
	u.add("restore the cgroup", func(ctx context.Context) error {
		_, err := s.cgroups.Apply(ctx, c.inspect.State.Pid, before, driver)
		return err
	})
	return nil
}

// UpdatePodSandboxResources notes what is asked for, for people to see, and
// changes nothing: the pod's own cgroup is the kubelet's work, which takes any
// error but Unimplemented for a refusal of the whole resize.
func (s *Server) UpdatePodSandboxResources(_ context.Context, r *cri.UpdatePodSandboxResourcesRequest) (*cri.UpdatePodSandboxResourcesResponse, error) {
	sb, err := s.index.sandbox(r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	s.index.setResources(sb.id(), &podResources{Overhead: r.GetOverhead(), Resources: r.GetResources()})
	return &cri.UpdatePodSandboxResourcesResponse{}, nil
}
