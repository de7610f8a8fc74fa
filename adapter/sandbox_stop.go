// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/translate"
)

// settleTime is how long an RPC waits for the event of what it has done before
// it asks the engine itself.
const settleTime = 500 * time.Millisecond

// StopPodSandbox kills the sandbox's containers, takes it off the pod network
// and stops its pause container. It may be repeated; a sandbox that is gone
// counts as stopped.
func (s *Server) StopPodSandbox(ctx context.Context, r *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	sb, unlock, err := s.lockSandbox(ctx, r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if sb == nil {
		// The engine has lost it, but network may still hold something.
		return &cri.StopPodSandboxResponse{}, s.network.Detach(ctx, r.GetPodSandboxId())
	}
	return &cri.StopPodSandboxResponse{}, s.stopSandbox(ctx, sb)
}

// lockSandbox finds a sandbox and takes its pod's lock. For a sandbox that is
// gone sb is nil, and so is err; unlock may be called all the same.
func (s *Server) lockSandbox(ctx context.Context, id string) (sb *sandbox, unlock func(), err error) {
	sb, err = s.index.sandbox(id)
	if errdefs.IsNotFound(err) {
		return nil, func() {}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	unlock, err = s.pods.lock(ctx, sb.key())
	if err != nil {
		return nil, nil, err
	}
	// What was found before the lock may be out of date by now.
	if now, err := s.index.sandbox(sb.id()); err == nil {
		return now, unlock, nil
	}
	return nil, unlock, nil
}

// stopSandbox expects the pod's lock to be held. The network goes before the
// pause process, which keeps the namespace; if it cannot be freed, the process
// is stopped all the same and the error makes the caller come back.
func (s *Server) stopSandbox(ctx context.Context, sb *sandbox) error {
	if err := s.killContainers(ctx, sb.id()); err != nil {
		return err
	}
	var detached error
	if !translate.HostNetwork(sb.inspect) {
		if detached = s.network.Detach(ctx, sb.id()); detached == nil {
			s.index.setAddresses(sb.id(), nil)
		}
	}
	return errors.Join(detached, s.stopRunning(ctx, sb.seen, 0))
}

// killContainers ends the sandbox's containers, all at once and at once.
func (s *Server) killContainers(ctx context.Context, sandboxID string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range s.index.containersOf(sandboxID) {
		group.Go(func() error { return s.stopRunning(ctx, c.seen, 0) })
	}
	return group.Wait()
}

// stopRunning stops a container that the index knows, and returns when the
// index shows it. One that does not run is left alone.
func (s *Server) stopRunning(ctx context.Context, c seen, graceSeconds int) error {
	if !c.running() {
		return nil
	}
	defer s.stopping.hold(c.id())()
	err := s.engine.ContainerStop(ctx, c.id(), container.StopOptions{Timeout: &graceSeconds})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("stop container %s: %w", c.id(), err)
	}
	return s.settle(ctx, c.id(), func() bool {
		last, ok := s.index.last(c.id())
		return !ok || !last.running()
	})
}

// settle waits until the index shows what an RPC has done. The engine's event
// brings it, as a rule before the engine's answer; where it does not come, the
// engine is asked.
func (s *Server) settle(ctx context.Context, id string, done func() bool) error {
	soon, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if s.health.err() == nil && s.index.await(soon, done) == nil {
		return nil
	}
	return s.refresh(ctx, id)
}

// RemovePodSandbox removes the sandbox and its containers, by force. It may be
// repeated; a sandbox that is gone counts as removed.
func (s *Server) RemovePodSandbox(ctx context.Context, r *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	sb, unlock, err := s.lockSandbox(ctx, r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if sb == nil {
		return &cri.RemovePodSandboxResponse{}, s.network.Detach(ctx, r.GetPodSandboxId())
	}
	return &cri.RemovePodSandboxResponse{}, s.removeSandbox(ctx, sb)
}

// removeSandbox expects the pod's lock to be held.
func (s *Server) removeSandbox(ctx context.Context, sb *sandbox) error {
	group, groupCtx := errgroup.WithContext(ctx)
	for _, c := range s.index.containersOf(sb.id()) {
		group.Go(func() error { return s.removeWorkload(groupCtx, c) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if !translate.HostNetwork(sb.inspect) {
		if err := s.network.Detach(ctx, sb.id()); err != nil {
			return err
		}
	}
	return s.removeObject(ctx, sb.id())
}

// removeObject removes a container of any kind by force, with its anonymous
// volumes, and returns when the index shows it.
func (s *Server) removeObject(ctx context.Context, id string) error {
	defer s.stopping.hold(id)()
	err := s.engine.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	switch {
	case err == nil || errdefs.IsNotFound(err):
		s.index.remove(id, time.Now()) // answers asked for until now may still show it
		return nil
	case errdefs.IsConflict(err):
		// Somebody else is removing it; their removal serves.
		return s.awaitRemoved(ctx, id, err)
	}
	return fmt.Errorf("remove container %s: %w", id, err)
}

func (s *Server) awaitRemoved(ctx context.Context, id string, conflict error) error {
	gone := func() bool {
		_, here := s.index.last(id)
		return !here
	}
	if err := s.settle(ctx, id, gone); err != nil {
		return err
	}
	if !gone() {
		return fmt.Errorf("remove container %s: %w", id, conflict)
	}
	return nil
}
