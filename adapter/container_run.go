// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/dockershimd/dockershimd/translate"
)

// StartContainer starts a container that has been created. One that runs
// already counts as started; one that has ended is not started again.
func (s *Server) StartContainer(ctx context.Context, r *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	c, err := s.index.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	switch c.status.State {
	case cri.ContainerState_CONTAINER_RUNNING:
		return &cri.StartContainerResponse{}, nil
	case cri.ContainerState_CONTAINER_EXITED:
		return nil, fmt.Errorf("container %s has ended; create another one: %w", c.id(), errdefs.ErrFailedPrecondition)
	}
	if target, has := translate.PIDTarget(c.inspect, c.sandboxID); has {
		if t, err := s.index.container(target); err != nil || !t.running() {
			return nil, fmt.Errorf("start container %s: the container %s, whose processes it is to share (namespace_options.target_id), does not run: %w", c.id(), target, errdefs.ErrFailedPrecondition)
		}
	}
	if err := s.prepareLog(c); err != nil {
		return nil, err
	}
	limited := mustBeLimited(c.seen)
	if limited {
		defer s.starting.hold(c.id())()
	}
	if err := s.engine.ContainerStart(ctx, c.id(), container.StartOptions{}); err != nil {
		// The engine notes why on the container, for its status. Where even that
		// cannot be read now, an event or the next comparison brings it.
		if failed := s.refresh(context.WithoutCancel(ctx), c.id()); failed != nil {
			klog.FromContext(ctx).V(2).Info("state after a failed start not known yet", "container", c.id(), "reason", failed.Error())
		}
		return nil, s.startError(c.id(), err)
	}
	s.index.started(c.id(), time.Now())
	s.logs.Nudge(c.id())
	if limited {
		if err := s.limitStarted(ctx, c.id()); err != nil {
			return nil, err
		}
	}
	return &cri.StartContainerResponse{}, nil
}

// startError keeps what a start needs and misses apart from the container: some
// engines answer NotFound when the sandbox to join is gone, by which the kubelet
// would take the container itself for gone.
func (s *Server) startError(id string, err error) error {
	if _, here := s.index.last(id); here && errdefs.IsNotFound(err) {
		return fmt.Errorf("start container %s: %v: %w", id, err, errdefs.ErrFailedPrecondition)
	}
	return fmt.Errorf("start container %s: %w", id, err)
}

// StopContainer gives the container r.Timeout seconds to end after its stop
// signal, then kills it. A container that has ended, or is gone, counts as
// stopped.
func (s *Server) StopContainer(ctx context.Context, r *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	c, err := s.index.container(r.GetContainerId())
	if errdefs.IsNotFound(err) {
		return &cri.StopContainerResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &cri.StopContainerResponse{}, s.stopRunning(ctx, c.seen, graceSeconds(r.GetTimeout()))
}

// graceSeconds is a grace period as the engine takes it, to which a negative
// one would mean for ever.
func graceSeconds(timeout int64) int { return int(min(max(timeout, 0), math.MaxInt32)) }

// RemoveContainer removes the container, by force if it still runs. One that is
// gone counts as removed.
func (s *Server) RemoveContainer(ctx context.Context, r *cri.RemoveContainerRequest) (*cri.RemoveContainerResponse, error) {
	c, err := s.index.container(r.GetContainerId())
	if errdefs.IsNotFound(err) {
		return &cri.RemoveContainerResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &cri.RemoveContainerResponse{}, s.removeWorkload(ctx, c)
}

// removeWorkload removes a container and what we have made for it.
func (s *Server) removeWorkload(ctx context.Context, c *workload) error {
	labels := c.inspect.Config.Labels
	// That goes first: once the container is gone, nobody knows of it. A process
	// that still runs keeps the mounts that it has.
	if err := errors.Join(s.unlinkLog(labels, c.id()), s.forgetNodeWork(labels, c.id())); err != nil {
		return err
	}
	if err := s.removeObject(ctx, c.id()); err != nil {
		return err
	}
	return s.forgetLog(ctx, labels, c.id())
}
