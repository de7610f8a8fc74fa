// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"
)

// Engine is a Docker Engine together with the client that speaks to it. Make
// one with New. It may be used by many goroutines at once.
type Engine struct {
	faults  faults
	journal journal

	mu         sync.Mutex // guards what follows; never held while a fault waits
	dir        string
	apiVersion string // the newest that the engine speaks
	negotiated string // the one in use; empty until the first call
	info       system.Info
	containers []*entry // in order of creation
	images     []*storedImage
	remotes    map[string]Remote // by reference, with the tag and with the digest
	run        func(container.InspectResponse) Process
	exec       func(container.InspectResponse, container.ExecOptions) Command
	execs      []*command // in order of creation
	lastPID    int
}

// New makes an engine without containers and images, like Docker 28.5 with the
// cgroupfs driver. It keeps the containers' files, such as resolv.conf, in dir.
func New(dir string) *Engine {
	return &Engine{
		faults:     faults{nth: map[int]fault{}, session: make(chan struct{})},
		journal:    journal{added: make(chan struct{})},
		dir:        dir,
		info:       defaultInfo(dir),
		apiVersion: api.DefaultVersion,
		remotes:    map[string]Remote{},
		run:        func(container.InspectResponse) Process { return Process{} },
		exec:       func(container.InspectResponse, container.ExecOptions) Command { return Command{} },
		lastPID:    maxPID,
	}
}

// call is one Engine API call: it is counted and meets its faults, and unless
// one of them says otherwise it takes effect, with the engine locked.
func call[T any](ctx context.Context, e *Engine, c Call, effect func() (T, error)) (T, error) {
	return reach(ctx, e, c, func() (T, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.negotiate()
		return effect()
	})
}

// reach is call for an effect that waits, and so locks the engine by itself.
func reach[T any](ctx context.Context, e *Engine, c Call, effect func() (T, error)) (T, error) {
	var nothing T
	fault, err := e.faults.arrive(ctx, c)
	if err != nil {
		return nothing, err
	}
	answer, err := effect()
	if lost := fault.strike(ctx, c.Method, After); lost != nil {
		return nothing, lost
	}
	return answer, err
}

// act is call for an API call that answers with an error or nothing.
func act(ctx context.Context, e *Engine, c Call, effect func() error) error {
	_, err := call(ctx, e, c, func() (struct{}, error) { return struct{}{}, effect() })
	return err
}

// wire copies v the way it would reach the other side: through JSON. Nothing is
// shared with the caller then, and what JSON cannot carry is lost here as there.
func wire[T any](v T) T {
	var copied T
	carry(v, &copied)
	return copied
}

// carry writes v as JSON and reads it into another value.
func carry(v, into any) {
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		panic(fmt.Sprintf("fakeengine: %T does not survive JSON: %v", v, err))
	}
}

// apiError is an error of the engine's, of one of the kinds of package errdefs.
type apiError struct {
	kind    error
	message string
}

func (e apiError) Error() string { return "Error response from daemon: " + e.message }
func (e apiError) Unwrap() error { return e.kind }

func invalid(format string, args ...any) error {
	return apiError{errdefs.ErrInvalidArgument, fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return apiError{errdefs.ErrNotFound, fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) error {
	return apiError{errdefs.ErrConflict, fmt.Sprintf(format, args...)}
}

func internal(format string, args ...any) error {
	return apiError{errdefs.ErrInternal, fmt.Sprintf(format, args...)}
}
