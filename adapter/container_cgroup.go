// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/adapter/cgroup"
	"github.com/dockershimd/dockershimd/translate"
)

// wantedLimits are those that the cgroup of a container should have: what it
// was created with, and what updates have made of that.
func (s *Server) wantedLimits(c seen) (cgroup.Limits, error) {
	updated, err := s.cgroups.Kept(c.id())
	if err != nil {
		return cgroup.Limits{}, fmt.Errorf("limits of container %s: %w", c.id(), err)
	}
	return updated.Over(cgroup.Limits(translate.InitialCgroupLimits(c.inspect.Config.Labels))), nil
}

// limitCgroup sets the limits of a running container's cgroup that the engine
// has no words for.
func (s *Server) limitCgroup(ctx context.Context, c seen) error {
	limits, err := s.wantedLimits(c)
	if err != nil || !c.running() {
		return err
	}
	must, rather := sortLimits(limits)
	if err := s.applyLimits(ctx, c, must); err != nil {
		return err
	}
	err = s.applyLimits(ctx, c, rather)
	if errdefs.IsFailedPrecondition(err) {
		s.log.V(2).Info("huge pages that a container has not asked for are not forbidden to it", "container", c.id(), "reason", err.Error())
		return nil
	}
	return err
}

// applyLimits passes over a process that is gone, which needs none.
func (s *Server) applyLimits(ctx context.Context, c seen, l cgroup.Limits) error {
	if l.Empty() {
		return nil
	}
	_, err := s.cgroups.Apply(ctx, c.inspect.State.Pid, l, s.node.Load().CgroupDriver)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// sortLimits sets those apart that no container may fail for: kubelets forbid
// all huge pages that are not asked for, also where the node cannot.
func sortLimits(l cgroup.Limits) (must, rather cgroup.Limits) {
	must.Unified = l.Unified
	must.HugePages, rather.HugePages = maps.Clone(l.HugePages), maps.Clone(l.HugePages)
	maps.DeleteFunc(must.HugePages, func(_ string, limit uint64) bool { return limit == 0 })
	maps.DeleteFunc(rather.HugePages, func(_ string, limit uint64) bool { return limit > 0 })
	return must, rather
}

// mustBeLimited tells whether a new container may not run without limits that
// only its cgroup can have.
func mustBeLimited(c seen) bool {
	must, _ := sortLimits(cgroup.Limits(translate.InitialCgroupLimits(c.inspect.Config.Labels)))
	return !must.Empty()
}

// limitStarted is limitCgroup for a container that an RPC has just started. One
// whose limits cannot be set is killed: it must not run without them.
func (s *Server) limitStarted(ctx context.Context, id string) (err error) {
	c, here := s.index.last(id)
	if !here {
		return nil
	}
	var u undo
	defer u.onError(ctx, &err)
	u.add("kill the container", func(ctx context.Context) error { return s.stopRunning(ctx, c, 0) })
	started, err := s.ask(ctx, id) // for its process
	if err != nil {
		return err
	}
	s.take(ctx, started)
	if err := s.limitCgroup(ctx, started.seen); err != nil {
		return fmt.Errorf("start container %s: its limits cannot be set: %w", id, err)
	}
	return nil
}

// currentResources are a running container's limits as the kernel holds them. What
// cannot be read stays as the engine says.
func (s *Server) currentResources(c *workload) *cri.ContainerResources {
	engines := c.status.GetResources().GetLinux()
	limits, err := s.wantedLimits(c.seen)
	if err != nil {
		return c.status.GetResources()
	}
	now, err := s.cgroups.Limits(c.inspect.State.Pid, slices.Sorted(maps.Keys(limits.Unified)))
	if err != nil {
		return c.status.GetResources()
	}
	if now.CpuShares == 0 { // the weight of cgroup version 2 does not tell
		now.CpuShares = engines.GetCpuShares()
	}
	return &cri.ContainerResources{Linux: now}
}
