// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
)

// ContainerExecAttach starts the command. As with a real engine, inspect tells
// at once that it runs, and the PID a moment later; after the end of the stream
// it may still say that the command runs.
func (e *Engine) ContainerExecAttach(ctx context.Context, execID string, options container.ExecAttachOptions) (types.HijackedResponse, error) {
	return open(ctx, e, Call{"ContainerExecAttach", execID, wire(options)}, func() (types.HijackedResponse, error) {
		c, err := e.findExec(execID)
		if err != nil {
			return types.HijackedResponse{}, notUpgraded(404)
		}
		response, l := e.hijack(ctx, options.Tty, c.options.AttachStdout, c.options.AttachStderr)
		if closed(c.started) {
			go l.refuse(options.Tty, c.startedBefore())
			return response, nil
		}
		if options.Tty && options.ConsoleSize != nil && knowsConsoleSize(e.negotiated) {
			c.options.ConsoleSize = options.ConsoleSize
		}
		e.startExec(c, l, options.Tty)
		return response, nil
	})
}

func (c *command) startedBefore() string {
	how := "has already run"
	if c.running() {
		how = "is already running"
	}
	return fmt.Sprintf("exec command %s %s\r\n", c.state.ExecID, how)
}

// startExec runs the command with l as its client.
func (e *Engine) startExec(c *command, l *line, raw bool) {
	what := e.exec(wire(c.container.InspectResponse), wire(c.options))
	e.containerEvent(c.container, c.action(events.ActionExecStart), "execID", c.state.ExecID)
	close(c.started)
	if what.Error != "" {
		c.state.ExitCode = what.ExitCode
		c.end()
		go l.refuse(raw, what.Error)
		return
	}
	c.attach(l)
	e.runExec(c, what)
	go e.serveExec(c, l)
}

func (e *Engine) runExec(c *command, what Command) {
	c.state.Running = true
	running := c.state
	c.stale = &running
	if c.state.Pid = what.PID; what.PID == 0 {
		e.lastPID++
		c.state.Pid = e.lastPID
	}
	if what.Run == nil {
		e.endExec(c, what.ExitCode)
		return
	}
	if !c.options.AttachStdin {
		c.stdin.close()
	}
	if size := c.options.ConsoleSize; c.options.Tty && size != nil {
		c.resize(*size)
	}
	go func() {
		code := what.Run(c.ctx, c.stdio(c.options.Tty))
		e.mu.Lock()
		defer e.mu.Unlock()
		if !c.over() {
			e.endExec(c, code)
		}
	}()
}

// serveExec is the client's side of the command.
func (e *Engine) serveExec(c *command, l *line) {
	if c.options.AttachStdin {
		how := input{ends: !c.options.Tty}
		if c.options.Tty {
			how.keys = c.keys
		}
		if c.serve(l, how) {
			e.leaveExec(c, l)
		}
	}
	l.endInput()
}

// leaveExec is what the keys do that detach a client. The engine takes them for
// a failure of the start: it tells the client so, and inspect shows an end that
// there was not.
func (e *Engine) leaveExec(c *command, l *line) {
	e.mu.Lock()
	if c.running() {
		c.state.Running, c.state.ExitCode, c.stale, c.left = false, 126, nil, true
	}
	e.mu.Unlock()
	_, _ = l.Write([]byte("exec attach failed: error on attach stdin: read escape sequence\r\n")) // never fails
	c.detach(l)
}

// endExec is the end of a running command's process.
func (e *Engine) endExec(c *command, code int) {
	if c.left {
		code = 127
	} else {
		if c.stale == nil {
			running := c.state
			c.stale = &running
		}
		c.state.Running, c.state.ExitCode = false, code
	}
	c.end()
	e.containerEvent(c.container, events.ActionExecDie, "execID", c.state.ExecID, "exitCode", strconv.Itoa(code))
}

// endExecs is what the end of a container does to its commands. Those that were
// not started are forgotten.
func (e *Engine) endExecs(gone *entry) {
	for _, c := range e.execs {
		if c.container == gone && c.running() {
			e.endExec(c, 137)
			c.stale = nil
		}
	}
	e.execs = slices.DeleteFunc(e.execs, func(c *command) bool { return c.container == gone && !closed(c.started) })
}

// startTime is how long a resize waits for the command to start.
const startTime = 10 * time.Second

// ContainerExecResize waits for the command to start, up to ten seconds.
func (e *Engine) ContainerExecResize(ctx context.Context, execID string, options container.ResizeOptions) error {
	_, err := reach(ctx, e, Call{"ContainerExecResize", execID, options}, func() (struct{}, error) {
		return struct{}{}, e.resizeExec(ctx, execID, [2]uint{options.Height, options.Width})
	})
	return err
}

func (e *Engine) resizeExec(ctx context.Context, execID string, size [2]uint) error {
	e.mu.Lock()
	c, err := e.findExec(execID)
	session, _ := e.faults.state()
	e.mu.Unlock()
	if err != nil {
		return err
	}
	late := time.NewTimer(startTime)
	defer late.Stop()
	select {
	case <-c.started:
	case <-late.C:
		return internal("timeout waiting for exec session ready")
	case <-session:
		return refused(ctx)
	case <-ctx.Done():
		return ended(ctx, "ContainerExecResize")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case c.state.Pid == 0:
		return invalid("exec process is not started")
	case c.over():
		return internal("cannot resize a stopped container")
	case c.options.Tty:
		c.resize(size)
	}
	return nil
}
