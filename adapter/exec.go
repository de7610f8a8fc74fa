// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/adapter/proctree"
	"github.com/dockershimd/dockershimd/translate"
)

// ExecSync runs a command in a container and returns what it wrote. A command
// that does not end in time is killed, with all that it has started, and so is
// one whose caller leaves. Each call runs the command anew.
func (s *Server) ExecSync(ctx context.Context, r *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	if err := translate.CheckExecSync(r); err != nil {
		return nil, err
	}
	c, err := s.runningContainer(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	timed, cancel := withTimeout(ctx, r.GetTimeout())
	defer cancel()
	room := answerRoom
	out, errs := captured{room: &room}, captured{room: &room}
	run, err := s.newCommand(timed, c, translate.ExecSyncBody(r))
	if err != nil {
		return nil, err
	}
	code, err := run.run(timed, stdio{out: &out, err: &errs}, translate.TerminalSize{})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, fmt.Errorf("the command did not end within %d s and was killed: %w", r.GetTimeout(), err)
	}
	if err != nil {
		return nil, err
	}
	return &cri.ExecSyncResponse{Stdout: out.bytes(), Stderr: errs.bytes(), ExitCode: int32(code)}, nil
}

// withTimeout limits ctx to some seconds; 0 is no limit.
func withTimeout(ctx context.Context, seconds int64) (context.Context, context.CancelFunc) {
	if seconds == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
}

// runningContainer finds a container in which something can be done now.
func (s *Server) runningContainer(id string) (*workload, error) {
	c, err := s.index.container(id)
	if err != nil {
		return nil, err
	}
	if c.status.State != cri.ContainerState_CONTAINER_RUNNING {
		return nil, fmt.Errorf("container %s is not running: %w", c.id(), errdefs.ErrFailedPrecondition)
	}
	return c, nil
}

// command is one in a container, which the engine knows by an id.
type command struct {
	*Server
	container string
	id        string
	body      container.ExecOptions
	process   *proctree.Process // nil until somebody has to know it
}

// newCommand makes a command known to the engine. One that is never started
// costs the engine a little memory, for a while.
func (s *Server) newCommand(ctx context.Context, c *workload, body container.ExecOptions) (*command, error) {
	created, err := s.engine.ContainerExecCreate(ctx, c.id(), body)
	if err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", c.id(), err)
	}
	return &command{Server: s, container: c.id(), id: created.ID, body: body}, nil
}

// run runs the command to its end. When ctx ends first, or the client is lost,
// the command is killed, with all that it has started.
//
// Where the command itself is why it cannot be started, run says so on its
// standard error and by the exit code, as a shell would.
func (c *command) run(ctx context.Context, std stdio, size translate.TerminalSize) (exitCode int, err error) {
	conn, err := c.engine.ContainerExecAttach(ctx, c.id, translate.ExecStart(c.body))
	refused := err != nil && ctx.Err() == nil
	switch {
	case refused:
		err = c.streamError(ctx, c.container, err)
	case err == nil:
		exitCode, err = c.carry(ctx, conn, std, size)
	}
	if err == nil {
		return exitCode, nil
	}
	if !refused {
		c.kill(ctx)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return 0, fmt.Errorf("exec in container %s: %w", c.container, err)
}

// carry is run once the command has been started.
func (c *command) carry(ctx context.Context, conn types.HijackedResponse, std stdio, size translate.TerminalSize) (exitCode int, err error) {
	word := &engineWord{to: orDiscard(std.out)}
	out := stream{
		stdio:     stdio{in: std.in, out: word, err: std.err, sizes: std.sizes},
		tty:       c.body.Tty,
		endsStdin: translate.ExecEndsStdin(c.body),
		size:      size,
		resize: func(ctx context.Context, size container.ResizeOptions) error {
			return c.engine.ContainerExecResize(ctx, c.id, size)
		},
	}
	if err := out.carry(ctx, conn); err != nil {
		return 0, err
	}
	end, err := c.await(ctx, func(state container.ExecInspect) bool { return !state.Running })
	if err != nil {
		return 0, err
	}
	if end.Pid != 0 {
		return end.ExitCode, word.release()
	}
	// It never had a process: the output is the engine's word.
	code, reason, ok := translate.StartFailure(end.ExitCode, word.held())
	if !ok {
		return 0, fmt.Errorf("the engine could not start the command: %s: %w", reason, errdefs.ErrInternal)
	}
	return code, complain(std, c.body.Tty, reason)
}

// complain writes why a command could not be started to where a user looks for
// it.
func complain(std stdio, tty bool, reason string) error {
	to, end := std.err, "\n"
	if to == nil {
		to = orDiscard(std.out)
	}
	if tty {
		end = "\r\n"
	}
	_, err := io.WriteString(to, reason+end)
	return err
}

// streamError finds out why the engine opened no stream to something in a
// container: its own reason is lost with the connection that was not taken over.
func (s *Server) streamError(ctx context.Context, containerID string, err error) error {
	state, lookErr := s.engine.ContainerInspect(ctx, containerID)
	switch {
	case lookErr != nil:
		return fmt.Errorf("%v: %w", err, lookErr)
	case !translate.Running(state):
		return fmt.Errorf("the container has ended: %w", errdefs.ErrFailedPrecondition)
	case state.State.Paused:
		return fmt.Errorf("the container is paused; unpause it first: %w", errdefs.ErrFailedPrecondition)
	}
	return fmt.Errorf("%w: %w", err, errdefs.ErrInternal)
}

// The pauses between two questions about a command. When its output has ended it
// mostly has too, and the engine is about to learn of it.
const (
	askPause     = time.Millisecond
	askPauseMost = 200 * time.Millisecond
)

// await asks the engine about the command until done.
func (c *command) await(ctx context.Context, done func(container.ExecInspect) bool) (container.ExecInspect, error) {
	for pause := askPause; ; pause = min(2*pause, askPauseMost) {
		state, err := c.engine.ContainerExecInspect(ctx, c.id)
		if err != nil {
			return state, fmt.Errorf("ask the engine about the command: %w", err)
		}
		if done(state) {
			return state, nil
		}
		if wait(ctx, pause); ctx.Err() != nil {
			return state, ctx.Err()
		}
	}
}
