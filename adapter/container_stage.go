// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/dockershimd/dockershimd/adapter/staging"
	"github.com/dockershimd/dockershimd/translate"
)

// volumeImages finds the images that are to be mounted.
func (s *Server) volumeImages(ctx context.Context, c *translate.Container) error {
	for i, m := range c.Config.GetMounts() {
		ref := m.GetImage().GetImage()
		if ref == "" {
			continue // translation refuses an image without a name
		}
		if err := translate.CheckImage(ref); err != nil {
			return fmt.Errorf("%w: config.mounts[%d].image: %w", crierrors.ErrImageVolumeMountFailed, i, err)
		}
		image := s.images.find(ref)
		if image == nil {
			return fmt.Errorf("%w: config.mounts[%d].image: image %q is not on this node; pull it first: %w", crierrors.ErrImageVolumeMountFailed, i, ref, errdefs.ErrNotFound)
		}
		if c.Volumes == nil {
			c.Volumes = map[int]translate.VolumeImage{}
		}
		c.Volumes[i] = translate.VolumeImage{ID: image.Id, Ref: translate.ImageRef(image.Id, image.RepoDigests)}
	}
	return s.volumeLayers(ctx, c)
}

// volumeLayers finds the layers of the images that the engine will not mount.
func (s *Server) volumeLayers(ctx context.Context, c *translate.Container) error {
	for _, i := range translate.Staged(s.node.Load().Facts, *c) {
		volume, isImage := c.Volumes[i]
		if !isImage {
			continue
		}
		inspect, err := s.engine.ImageInspect(ctx, volume.ID)
		if err != nil {
			return fmt.Errorf("%w: config.mounts[%d].image: %w", crierrors.ErrImageVolumeMountFailed, i, err)
		}
		volume.Layers = translate.Layers(inspect)
		c.Volumes[i] = volume
	}
	return nil
}

// stage makes the mounts that the engine cannot make, if any, under the
// container's key.
func (s *Server) stage(u *undo, c *translate.Container) error {
	var mounts []staging.Mount
	indices := translate.Staged(s.node.Load().Facts, *c)
	for _, i := range indices {
		mounts = append(mounts, stagedMount(c.Config.GetMounts()[i], c.Volumes[i]))
	}
	if len(mounts) == 0 {
		return nil
	}
	u.add("unmount what was staged", func(context.Context) error { return s.staging.Remove(c.StagingKey) })
	paths, err := s.staging.Stage(c.StagingKey, mounts)
	if err != nil {
		if len(c.Volumes) > 0 {
			err = fmt.Errorf("%w: %w", crierrors.ErrImageVolumeMountFailed, err)
		}
		return err
	}
	c.Staged = map[int]string{}
	for n, i := range indices {
		c.Staged[i] = paths[n]
	}
	return nil
}

func stagedMount(m *cri.Mount, image translate.VolumeImage) staging.Mount {
	out := staging.Mount{
		Source: m.GetHostPath(), Layers: image.Layers, SubPath: m.GetImageSubPath(),
		ReadOnly: m.GetReadonly() || m.GetImage() != nil, RecursiveReadOnly: m.GetRecursiveReadOnly(),
	}
	for _, o := range m.GetMountOptions() {
		switch o {
		case "noexec":
			out.NoExec = true
		case "nosuid":
			out.NoSUID = true
		case "nodev":
			out.NoDev = true
		}
	}
	return out
}

// heldKeys are what RPCs under way answer for, so that others leave it alone.
// Several may hold a key.
type heldKeys struct {
	mu   sync.Mutex
	keys map[string]int
}

func (h *heldKeys) hold(key string) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keys == nil {
		h.keys = map[string]int{}
	}
	h.keys[key]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.keys[key]--; h.keys[key] == 0 {
			delete(h.keys, key)
		}
	}
}

func (h *heldKeys) has(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.keys[key] > 0
}
