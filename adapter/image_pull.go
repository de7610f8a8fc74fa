// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/dockershimd/dockershimd/adapter/pauseimage"
	"github.com/dockershimd/dockershimd/translate"
)

// PullImage downloads an image and answers with its id. Equal pulls share one
// download, which goes on for as long as one of their callers waits.
func (s *Server) PullImage(ctx context.Context, r *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	ref := r.GetImage().GetImage()
	if err := checkImage(ref); err != nil {
		return nil, err
	}
	name, err := translate.PullName(ref)
	if err != nil {
		return nil, fmt.Errorf("image.image: %w", err)
	}
	auth, err := registryAuth(ctx, r.GetAuth(), name)
	if err != nil {
		return nil, err
	}
	err = s.flights.do(ctx, "pull "+name+" "+auth, func(ctx context.Context) error { return s.pull(ctx, name, auth) })
	if err != nil {
		return nil, worded(fmt.Errorf("pull image %s: %w", name, err))
	}
	i := s.images.find(name)
	if i == nil {
		return nil, fmt.Errorf("pull image %s: it was removed again at once: %w", name, errdefs.ErrAborted)
	}
	return &cri.PullImageResponse{ImageRef: i.Id}, nil
}

// registryAuth is what the engine is given of a request's credentials. Those of
// another registry than the image's stay here: one image store would send them.
func registryAuth(ctx context.Context, a *cri.AuthConfig, name string) (string, error) {
	auth, err := translate.RegistryAuth(a)
	if err == nil && auth != "" && !translate.AuthServes(a, name) {
		klog.FromContext(ctx).Info("credentials are for another registry than the image's: pulled without", "image", name, "server", a.GetServerAddress())
		return "", nil
	}
	return auth, err
}

// pull downloads an image and returns when the list of images shows it.
func (s *Server) pull(ctx context.Context, name, auth string) error {
	if err := s.download(ctx, name, auth); err != nil {
		return err
	}
	return s.images.refresh(ctx)
}

// download gives up when the engine tells of no progress for too long, which
// counts from the start: behind a silent registry the engine does not even
// begin to answer.
func (s *Server) download(ctx context.Context, name, auth string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dog := watchdog(s.config.PullProgressDeadline, cancel)
	defer dog.stop()
	progress, err := s.engine.ImagePull(ctx, name, image.PullOptions{RegistryAuth: auth})
	if err == nil {
		defer progress.Close()
		err = readPull(progress, dog.reset)
	} else if errdefs.IsInternal(err) {
		err = registryError(err.Error())
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// pauseImage is the image for a new sandbox: the configured one if the engine
// has it, else the built-in one if that has been loaded before; else the
// configured one is pulled, and where it cannot be had, the built-in one loaded.
func (s *Server) pauseImage(ctx context.Context) (string, error) {
	for _, ref := range []string{s.config.PauseImage, pauseimage.Reference} {
		if i := s.images.find(ref); i != nil {
			return i.Id, nil
		}
	}
	if err := s.flights.do(ctx, "pause image", s.getPauseImage); err != nil {
		return "", fmt.Errorf("pause image: %w", err)
	}
	for _, ref := range []string{s.config.PauseImage, pauseimage.Reference} {
		if i := s.images.find(ref); i != nil {
			return i.Id, nil
		}
	}
	return "", fmt.Errorf("pause image: it was removed again at once: %w", errdefs.ErrUnavailable)
}

// pausePullTime is how long a pull of the pause image may take before the
// built-in one serves. A registry that an offline node cannot reach often does
// not refuse, it stays silent; the kubelet gives a sandbox four minutes.
const pausePullTime = time.Minute

func (s *Server) getPauseImage(ctx context.Context) error {
	err := s.pullPauseImage(ctx)
	if err == nil {
		return nil
	}
	klog.FromContext(ctx).Info("pause image cannot be pulled: the built-in one serves", "image", s.config.PauseImage, "reason", err.Error())
	archive, err := pauseimage.Archive(s.node.Load().info.Architecture)
	if err != nil {
		return err
	}
	loaded, err := s.engine.ImageLoad(ctx, bytes.NewReader(archive))
	if err != nil {
		return fmt.Errorf("load the built-in pause image: %w", err)
	}
	defer loaded.Body.Close()
	if err := readPull(loaded.Body, func(bool) {}); err != nil {
		return fmt.Errorf("load the built-in pause image: %w", err)
	}
	return s.images.refresh(ctx)
}

func (s *Server) pullPauseImage(ctx context.Context) error {
	name, err := translate.PullName(s.config.PauseImage)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pausePullTime)
	defer cancel()
	return s.pull(ctx, name, "")
}
