// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
)

// Command is what a command of ContainerExecAttach does.
type Command struct {
	// PID, where zero stands for a number that no process has.
	PID int
	// Error, unless empty, is why the command cannot be started: the engine
	// writes that text to its stdout, as it is, and shows ExitCode and no PID.
	Error string
	// ExitCode is that of a command without Run, or which cannot be started.
	ExitCode int
	// Run is the command's work, on a goroutine of its own. Nil ends at once. The
	// context ends when the command is killed, by KillExec or with its container;
	// what Run returns then does not matter. It outlives its client.
	Run func(ctx context.Context, std Stdio) (exitCode int)
}

// RunningExec is a command that was started and has not ended.
type RunningExec struct {
	ID, ContainerID string
	Options         container.ExecOptions
}

// command is an exec, whether started or not.
type command struct {
	*task
	container *entry
	options   container.ExecOptions
	keys      []byte
	started   chan struct{} // closed once it is known how the start went
	state     container.ExecInspect
	// stale, unless nil, is what inspect answers once more before it knows of
	// the latest change. A real engine is late by some time.
	stale *container.ExecInspect
	// left is true after a client has detached itself: the engine does not know
	// the process any more.
	left bool
	// forgotten is true after an engine's death, of which commands know nothing.
	forgotten bool
}

// OnExec has run called for each command that starts, to say what it does; it
// sees what inspect shows of the container. It must not use the Engine. Without
// it, a command ends at once with exit code 0.
func (e *Engine) OnExec(run func(c container.InspectResponse, options container.ExecOptions) Command) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.exec = run
}

// KillExec is somebody's killing of a running command's process, also of one that
// the engine has forgotten.
func (e *Engine) KillExec(execID string, code int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.execs {
		if c.state.ExecID == execID && c.running() {
			e.endExec(c, code)
			return
		}
	}
	panic("fakeengine: no command " + execID + " is running")
}

// Execs are the commands that run, in order of their creation.
func (e *Engine) Execs() []RunningExec {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := []RunningExec{}
	for _, c := range e.execs {
		if c.running() {
			list = append(list, RunningExec{c.state.ExecID, c.container.ID, wire(c.options)})
		}
	}
	return list
}

func (c *command) running() bool { return closed(c.started) && !c.over() }

// ContainerExecCreate ignores what only a real process can heed, such as User.
func (e *Engine) ContainerExecCreate(ctx context.Context, id string, options container.ExecOptions) (container.ExecCreateResponse, error) {
	return call(ctx, e, Call{"ContainerExecCreate", id, wire(options)}, func() (container.ExecCreateResponse, error) {
		c, err := e.newExec(id, wire(options))
		if err != nil {
			return container.ExecCreateResponse{}, err
		}
		e.execs = append(e.execs, c)
		e.containerEvent(c.container, c.action(events.ActionExecCreate), "execID", c.state.ExecID)
		return container.ExecCreateResponse{ID: c.state.ExecID}, nil
	})
}

func (e *Engine) newExec(id string, options container.ExecOptions) (*command, error) {
	if len(options.Cmd) == 0 {
		return nil, invalid("No exec command specified")
	}
	c, err := e.find(id)
	if err != nil {
		return nil, err
	}
	if !c.State.Running {
		return nil, conflict("container %s is not running", c.ID)
	}
	keys, ok := detachKeys(options.DetachKeys)
	if !ok {
		return nil, internal("Invalid escape keys (%s) provided", options.DetachKeys)
	}
	if !knowsConsoleSize(e.negotiated) {
		options.ConsoleSize = nil
	}
	return &command{
		task: newTask(), container: c, options: options, keys: keys, started: make(chan struct{}),
		state: container.ExecInspect{ExecID: randomID(), ContainerID: c.ID},
	}, nil
}

// ContainerExecInspect learns one answer late what the process does by itself:
// that there is one, and that it ended.
func (e *Engine) ContainerExecInspect(ctx context.Context, execID string) (container.ExecInspect, error) {
	return call(ctx, e, Call{"ContainerExecInspect", execID, nil}, func() (container.ExecInspect, error) {
		c, err := e.findExec(execID)
		if err != nil {
			return container.ExecInspect{}, err
		}
		if late := c.stale; late != nil {
			c.stale = nil
			return *late, nil
		}
		return c.state, nil
	})
}

// findExec finds a command whose container is there.
func (e *Engine) findExec(execID string) (*command, error) {
	for _, c := range e.execs {
		if c.state.ExecID == execID && !c.forgotten && slices.Contains(e.containers, c.container) {
			return c, nil
		}
	}
	return nil, notFound("No such exec instance: %s", execID)
}

// action is an event's, which for commands tells what is run.
func (c *command) action(what events.Action) events.Action {
	return events.Action(fmt.Sprintf("%s: %s", what, strings.Join(c.options.Cmd, " ")))
}
