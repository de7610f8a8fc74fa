// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
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
	name, err := translate.PullName(r.GetImage().GetImage())
	if err != nil {
		return nil, err
	}
	auth, err := translate.RegistryAuth(r.GetAuth())
	if err != nil {
		return nil, err
	}
	err = s.flights.do(ctx, "pull "+name+" "+auth, func(ctx context.Context) error { return s.pull(ctx, name, auth) })
	if err != nil {
		return nil, fmt.Errorf("pull image %s: %w", name, err)
	}
	i := s.images.find(name)
	if i == nil {
		return nil, fmt.Errorf("pull image %s: it was removed again at once: %w", name, errdefs.ErrAborted)
	}
	return &cri.PullImageResponse{ImageRef: i.Id}, nil
}

// pull downloads an image and returns when the list of images shows it.
func (s *Server) pull(ctx context.Context, name, auth string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	progress, err := s.engine.ImagePull(ctx, name, image.PullOptions{RegistryAuth: auth})
	if errdefs.IsInternal(err) {
		return registryError(err.Error())
	}
	if err != nil {
		return err
	}
	defer progress.Close()
	dog := watchdog(s.config.PullProgressDeadline, cancel)
	defer dog.stop()
	if err := readPull(progress, dog.reset); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return s.images.refresh(ctx)
}

// errNoProgress is of no kind that ends a pod: the kubelet tries again.
var errNoProgress = errors.New("no progress")

// pullWatchdog cancels a pull that stands still.
type pullWatchdog struct {
	timer *time.Timer
	limit time.Duration
}

// watchdog cancels after limit without a reset; a limit of 0 never does.
func watchdog(limit time.Duration, cancel context.CancelCauseFunc) *pullWatchdog {
	if limit == 0 {
		return &pullWatchdog{}
	}
	stalled := func() {
		cancel(fmt.Errorf("%w for %s (see --image-pull-progress-deadline): %w", errNoProgress, limit, errdefs.ErrUnavailable))
	}
	return &pullWatchdog{time.AfterFunc(limit, stalled), limit}
}

// reset starts the limit anew. While the engine unpacks a layer it may have
// nothing to tell for long, so then the limit does not count.
func (w *pullWatchdog) reset(unpacking bool) {
	switch {
	case w.timer == nil:
	case unpacking:
		w.timer.Stop()
	default:
		w.timer.Reset(w.limit)
	}
}

func (w *pullWatchdog) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// pullMessage is the part of a progress message that matters here.
type pullMessage struct {
	ID          string `json:"id"`
	Status      string `json:"status"`
	Error       string `json:"error"`
	ErrorDetail *struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
}

// The engine's words for a layer that has arrived and is being unpacked, and
// for one that is done. No other field of a message tells.
const (
	statusExtracting   = "Extracting"
	statusPullComplete = "Pull complete"
)

// readPull reads progress to its end. An error that the engine meets while it
// pulls comes as a message, since the response has begun long before.
func readPull(progress io.Reader, alive func(unpacking bool)) error {
	unpacking := map[string]bool{}
	for messages := json.NewDecoder(progress); ; {
		var m pullMessage
		if err := messages.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the engine's progress: %w", err)
		}
		if m.Error != "" {
			return registryError(m.text())
		}
		switch m.Status {
		case statusExtracting:
			unpacking[m.ID] = true
		case statusPullComplete:
			delete(unpacking, m.ID)
		}
		alive(len(unpacking) > 0)
	}
}

// text is what went wrong, in the fuller of its two forms.
func (m pullMessage) text() string {
	if m.ErrorDetail != nil && m.ErrorDetail.Message != "" {
		return m.ErrorDetail.Message
	}
	return m.Error
}

// registryErrors are the words by which a registry's refusal can be told apart:
// in the stream of messages the engine passes on no code, and before it most
// refusals are internal errors of the engine's.
var registryErrors = []struct {
	words string
	kind  error
}{
	{"manifest unknown", errdefs.ErrNotFound},
	{"not found", errdefs.ErrNotFound},
	{"unauthorized", errdefs.ErrUnauthenticated},
	{"401 Unauthorized", errdefs.ErrUnauthenticated}, // the containerd image store's words
	{"no basic auth credentials", errdefs.ErrUnauthenticated},
	{"denied", errdefs.ErrPermissionDenied},
	{"403 Forbidden", errdefs.ErrPermissionDenied},
	{"502 Bad Gateway", errdefs.ErrUnavailable},
	{"503 Service Unavailable", errdefs.ErrUnavailable},
	{"504 Gateway Timeout", errdefs.ErrUnavailable},
	{"connection refused", errdefs.ErrUnavailable},
	{"i/o timeout", errdefs.ErrUnavailable},
	{"no such host", errdefs.ErrUnavailable},
	{"network is unreachable", errdefs.ErrUnavailable},
}

func registryError(text string) error {
	for _, row := range registryErrors {
		if strings.Contains(text, row.words) {
			return fmt.Errorf("%s: %w", text, row.kind)
		}
	}
	return fmt.Errorf("%s: %w", text, errdefs.ErrInternal)
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
