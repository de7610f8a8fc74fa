// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"strconv"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
)

// ContainerAttach joins the streams of the container's process from then on,
// together with others who are attached. As with a real engine, whoever attaches
// to a container that does not run waits for the next start, and for ever if the
// container is removed. It refuses to show logs.
func (e *Engine) ContainerAttach(ctx context.Context, id string, options container.AttachOptions) (types.HijackedResponse, error) {
	return open(ctx, e, Call{"ContainerAttach", id, options}, func() (types.HijackedResponse, error) {
		c, err := e.find(id)
		if err != nil {
			return types.HijackedResponse{}, notUpgraded(404)
		}
		keys, ok := detachKeys(options.DetachKeys)
		if !ok || options.Logs {
			return types.HijackedResponse{}, notUpgraded(400)
		}
		response, l := e.hijack(ctx, c.Config.Tty, options.Stdout, options.Stderr)
		e.containerEvent(c, events.ActionAttach)
		c.task.attach(l)
		if !options.Stream {
			c.task.detach(l)
		}
		how := input{ends: c.Config.StdinOnce && !c.Config.Tty}
		if c.Config.Tty {
			how.keys = keys
		}
		go e.serveAttach(c, c.task, l, options.Stdin && c.Config.OpenStdin, how)
		return response, nil
	})
}

// serveAttach is the client's side of an attach to a container.
func (e *Engine) serveAttach(c *entry, t *task, l *line, stdin bool, how input) {
	if stdin && t.serve(l, how) {
		t.detach(l)
		e.mu.Lock()
		e.containerEvent(c, events.ActionDetach)
		e.mu.Unlock()
	}
	l.endInput()
}

// ContainerResize changes the size of a terminal; it has no effect on a process
// that has none.
func (e *Engine) ContainerResize(ctx context.Context, id string, options container.ResizeOptions) error {
	return act(ctx, e, Call{"ContainerResize", id, options}, func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		if !c.State.Running {
			return conflict("container %s is not running", c.ID)
		}
		if c.Config.Tty {
			c.task.resize([2]uint{options.Height, options.Width})
		}
		e.containerEvent(c, events.ActionResize,
			"height", strconv.FormatUint(uint64(options.Height), 10), "width", strconv.FormatUint(uint64(options.Width), 10))
		return nil
	})
}
