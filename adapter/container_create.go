// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
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
func (s *Server) CreateContainer(ctx context.Context, r *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
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
	body, err := s.containerBody(ctx, sb, r)
	if err != nil {
		return nil, err
	}
	if id, err := s.earlierContainer(ctx, sb, body); id != "" || err != nil {
		return &cri.CreateContainerResponse{ContainerId: id}, err
	}

	if err := makeMountSources(r.GetConfig().GetMounts()); err != nil {
		return nil, err
	}
	defer s.index.expect(body.Name)()
	id, err := s.create(ctx, body)
	if err != nil {
		return nil, fmt.Errorf("create container: %w", err)
	}
	now := time.Now()
	s.index.put(translate.CreatedInspect(body, id, body.Config.Image, now), now, nil)
	return &cri.CreateContainerResponse{ContainerId: id}, nil
}

// containerBody checks the request and finds out what its translation needs.
func (s *Server) containerBody(ctx context.Context, sb *sandbox, r *cri.CreateContainerRequest) (translate.Body, error) {
	sc := r.GetConfig().GetLinux().GetSecurityContext()
	//lint:ignore SA1019 kubelets before 1.30 send nothing else
	profiles, err := readProfiles(sc, sc.GetApparmorProfile())
	if err != nil {
		return translate.Body{}, err
	}
	if target := sc.GetNamespaceOptions().GetTargetId(); target != "" {
		if err := s.checkTarget(sb, target); err != nil {
			return translate.Body{}, err
		}
	}
	ref := r.GetConfig().GetImage().GetImage()
	if ref == "" {
		return translate.Body{}, fmt.Errorf("config.image.image: is required: %w", errdefs.ErrInvalidArgument)
	}
	image := s.images.find(ref)
	if image == nil {
		return translate.Body{}, fmt.Errorf("config.image.image: image %q is not on this node; pull it first: %w", ref, errdefs.ErrNotFound)
	}
	body, notices, err := translate.ContainerBody(s.node.Load().Facts, translate.Container{
		Config: r.GetConfig(), Pod: r.GetSandboxConfig(),
		SandboxID: sb.id(), Metadata: sb.status.Metadata, Handler: sb.status.RuntimeHandler,
		ImageID: image.Id, Profiles: profiles, Log: s.config.Logs,
	})
	logNotices(ctx, notices)
	return body, err
}

// checkTarget: a container may share the processes of its own pod only.
func (s *Server) checkTarget(sb *sandbox, target string) error {
	c, err := s.index.container(target)
	if err != nil {
		return fmt.Errorf("namespace_options.target_id: %w", err)
	}
	if c.sandboxID != sb.id() {
		return fmt.Errorf("namespace_options.target_id: container %s is of another pod: %w", target, errdefs.ErrInvalidArgument)
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
		if _, err := os.Stat(m.GetHostPath()); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.MkdirAll(m.GetHostPath(), 0o755); err != nil {
			return fmt.Errorf("make the host directory of a mount: %w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}
