// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/translate"
)

// CreateContainer creates a container in a ready sandbox. Repeated for a
// container that has not been started, it answers with that one; one that has
// ended under the same name and attempt is replaced.
func (s *Server) CreateContainer(ctx context.Context, r *cri.CreateContainerRequest) (_ *cri.CreateContainerResponse, err error) {
	if r.GetSandboxConfig() == nil || r.GetConfig() == nil {
		return nil, fmt.Errorf("config and sandbox_config: are required: %w", errdefs.ErrInvalidArgument)
	}
	sb, unlock, err := s.lockSandbox(ctx, r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if sb == nil {
		return nil, fmt.Errorf("no sandbox with id %q: %w", r.GetPodSandboxId(), errdefs.ErrNotFound)
	}
	if !sb.ready() {
		return nil, fmt.Errorf("sandbox %s is not ready: %w", sb.id(), errdefs.ErrFailedPrecondition)
	}
	c, err := s.container(ctx, sb, r)
	if err != nil {
		return nil, err
	}
	body, _, err := translate.ContainerBody(s.node.Load().Facts, c) // the checks, before anything is done
	if err != nil {
		return nil, err
	}
	if id, err := s.earlierContainer(ctx, sb, body); id != "" || err != nil {
		return &cri.CreateContainerResponse{ContainerId: id}, err
	}

	var u undo
	defer u.onError(ctx, &err)
	// A key of its own for each attempt: the end of an earlier container must not
	// take the mounts of a later one along.
	c.StagingKey = rand.Text()
	defer s.stagingNow.hold(c.StagingKey)()
	if body, err = s.prepareNode(ctx, &u, c); err != nil {
		return nil, err
	}
	defer s.index.expect(body.Name)()
	id, err := s.create(ctx, body)
	if err != nil {
		return nil, fmt.Errorf("create container: %w", err)
	}
	u.add("remove container", func(ctx context.Context) error { return s.removeObject(ctx, id) })
	if err = s.relabelMounts(ctx, id, c.Config.GetMounts()); err != nil {
		return nil, err
	}
	now := time.Now()
	s.index.put(translate.CreatedInspect(body, id, body.Config.Image, now), now, nil)
	return &cri.CreateContainerResponse{ContainerId: id}, nil
}

// container finds out what the translation of a request needs, without changing
// anything.
func (s *Server) container(ctx context.Context, sb *sandbox, r *cri.CreateContainerRequest) (c translate.Container, err error) {
	c = translate.Container{
		Pod: r.GetSandboxConfig(), SandboxID: sb.id(), Metadata: sb.status.Metadata, Handler: sb.status.RuntimeHandler,
		Namespaces: sb.status.GetLinux().GetNamespaces().GetOptions(), Log: s.config.Logs,
	}
	if c.Config, err = s.resolveCDI(ctx, r.GetConfig()); err != nil {
		return c, err
	}
	sc := c.Config.GetLinux().GetSecurityContext()
	//lint:ignore SA1019 kubelets before 1.30 send nothing else
	if c.Profiles, err = readProfiles(sc, sc.GetApparmorProfile()); err != nil {
		return c, err
	}
	if target := sc.GetNamespaceOptions().GetTargetId(); target != "" {
		if err := s.checkTarget(sb, target); err != nil {
			return c, err
		}
	}
	if err := checkNode(c.Config); err != nil {
		return c, err
	}
	if c.ImageID, err = s.imageOf(c.Config); err != nil {
		return c, err
	}
	if translate.UserWants(c.Config).Exact {
		c.ExactUser = anyExactUser
	}
	return c, s.volumeImages(ctx, &c)
}

// anyExactUser stands for the user that prepareNode will find out.
const anyExactUser = "0:0"

// imageOf is the engine's id of the image that a container is to run.
func (s *Server) imageOf(c *cri.ContainerConfig) (id string, err error) {
	ref := c.GetImage().GetImage()
	if ref == "" {
		return "", fmt.Errorf("config.image.image: is required: %w", errdefs.ErrInvalidArgument)
	}
	if err := translate.CheckImage(ref); err != nil {
		return "", fmt.Errorf("config.image.image: %w", err)
	}
	image := s.images.find(ref)
	if image == nil {
		return "", fmt.Errorf("config.image.image: image %q is not on this node; pull it first: %w", ref, errdefs.ErrNotFound)
	}
	return image.Id, nil
}

// prepareNode makes what has to be there when a container is created, and
// returns the body that counts on it.
func (s *Server) prepareNode(ctx context.Context, u *undo, c translate.Container) (body translate.Body, err error) {
	if err := makeMountSources(c.Config.GetMounts()); err != nil {
		return body, err
	}
	if err := s.findUser(ctx, &c); err != nil {
		return body, err
	}
	if err := s.stage(u, &c); err != nil {
		return body, err
	}
	body, notices, err := translate.ContainerBody(s.node.Load().Facts, c)
	logNotices(ctx, notices)
	return body, err
}

// checkTarget: a container may share the processes of its own pod only.
func (s *Server) checkTarget(sb *sandbox, target string) error {
	c, err := s.index.container(target)
	if err != nil {
		return fmt.Errorf("namespace_options.target_id: %w", err)
	}
	switch {
	case c.sandboxID != sb.id():
		return fmt.Errorf("namespace_options.target_id: container %s is of another pod: %w", target, errdefs.ErrInvalidArgument)
	case !c.running():
		return fmt.Errorf("namespace_options.target_id: container %s does not run: %w", target, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// earlierContainer deals with a container that an earlier request of the same
// name has made.
func (s *Server) earlierContainer(ctx context.Context, sb *sandbox, body translate.Body) (id string, err error) {
	for _, old := range s.index.containersOf(sb.id()) {
		if old.name() != body.Name {
			continue
		}
		same := translate.Fingerprint(old.inspect.Config.Labels) == translate.Fingerprint(body.Config.Labels)
		switch old.status.State {
		case cri.ContainerState_CONTAINER_RUNNING:
			return "", fmt.Errorf("container %s of this name and attempt runs; stop and remove it first: %w", old.id(), errdefs.ErrAlreadyExists)
		case cri.ContainerState_CONTAINER_CREATED:
			if same {
				return old.id(), nil
			}
		}
		return "", s.removeWorkload(ctx, old)
	}
	return "", nil
}

// makeMountSources makes host directories that do not exist, as CRI wants it
// and the kubelet relies on for volumes of type hostPath. The Engine API makes
// them only since 1.42.
func makeMountSources(mounts []*cri.Mount) error {
	for _, m := range mounts {
		if m.GetImage() != nil {
			continue
		}
		if _, err := os.Stat(m.GetHostPath()); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.MkdirAll(m.GetHostPath(), 0o755); err != nil {
			return fmt.Errorf("make the host directory of a mount: %w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}
