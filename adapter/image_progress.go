// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	crierrors "k8s.io/cri-api/pkg/errors"
)

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
		text := fmt.Sprintf("%s for %s (see --image-pull-progress-deadline)", errNoProgress, limit)
		cancel(&refusal{text, []error{errNoProgress, errdefs.ErrUnavailable, crierrors.ErrRegistryUnavailable}})
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
	ID             string `json:"id"`
	Status         string `json:"status"`
	ProgressDetail struct {
		Current int64 `json:"current"`
	} `json:"progressDetail"`
	Error       string `json:"error"`
	ErrorDetail *struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
}

// text is what went wrong, in the fuller of its two forms.
func (m pullMessage) text() string {
	if m.ErrorDetail != nil && m.ErrorDetail.Message != "" {
		return m.ErrorDetail.Message
	}
	return m.Error
}

// readPull reads progress to its end, and calls alive with each message that is
// news. An error that the engine meets while it pulls comes as a message, since
// the response has begun long before.
func readPull(progress io.Reader, alive func(unpacking bool)) error {
	layers := pullLayers{}
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
		if layers.news(m) {
			alive(layers.unpacking())
		}
	}
}

// pullLayers is the last message about each layer. No other field of a message
// than the engine's words for people tells how far a layer is.
type pullLayers map[string]pullMessage

// news takes a message in, and is false where it says what is known: of a layer
// that stands still, the containerd image store tells ten times a second.
func (l pullLayers) news(m pullMessage) bool {
	if strings.HasPrefix(m.Status, "Pulling from ") {
		return true // its id is the tag
	}
	last, known := l[m.ID]
	l[m.ID] = m
	return !known || last.Status != m.Status || last.ProgressDetail != m.ProgressDetail
}

// unpacking is true while a layer is being unpacked. The containerd image store
// of engines before 28 does not say so: there it is when all layers have come,
// but the pull has not ended.
func (l pullLayers) unpacking() bool {
	coming, came := 0, 0
	for id, m := range l {
		switch m.Status {
		case "Extracting":
			return true
		case "Verifying Checksum", "Download complete":
			came++
		case "Pull complete", "Already exists":
		default:
			if id != "" {
				coming++
			}
		}
	}
	return coming == 0 && came > 0
}
