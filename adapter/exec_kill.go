// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"k8s.io/klog/v2"

	"github.com/dockershimd/dockershimd/adapter/proctree"
)

// killTime bounds the end of a command that nobody waits for any more. A
// process in a paused container dies only after the pause.
const killTime = 10 * time.Second

// kill ends the command and all that it has started. The engine has no call
// for it. ctx has ended already, so there is a deadline of our own.
func (c *command) kill(ctx context.Context) {
	log := klog.FromContext(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	if err := c.tryKill(ctx); err != nil {
		log.Error(err, "a command that nobody waits for may go on running", "container", c.container, "exec", c.id)
		return
	}
	log.V(2).Info("command killed", "container", c.container, "exec", c.id)
}

func (c *command) tryKill(ctx context.Context) error {
	pid, err := c.awaitPID(ctx)
	if err != nil || pid == 0 {
		return err
	}
	return proctree.Kill(ctx, c.container, pid)
}

// lateStart is how long a command may seem not to have been started, while the
// engine still reads the request that was given up.
const lateStart = time.Second

// awaitPID is the command's process, which the engine knows a moment after the
// start; 0 if it has never had one.
func (c *command) awaitPID(ctx context.Context) (int, error) {
	start := time.Now()
	for pause := endPause; ; pause = min(2*pause, endPauseMost) {
		state, err := c.engine.ContainerExecInspect(ctx, c.id)
		switch {
		case errdefs.IsNotFound(err):
			return 0, nil // it has ended with its container
		case err != nil:
			return 0, fmt.Errorf("ask for the command's process: %w", err)
		case state.Pid != 0 || !state.Running && (state.ExitCode != 0 || time.Since(start) > lateStart):
			return state.Pid, nil
		}
		if wait(ctx, pause); ctx.Err() != nil {
			return 0, fmt.Errorf("wait for the command's process: %w", ctx.Err())
		}
	}
}

// stateTime is how long the engine takes to tell the state of a command, unless
// it waits for the command's output to be fetched.
const stateTime = 500 * time.Millisecond

// ended looks at the command's process: the engine tells of an end only after
// it has given up on whoever reads the output, and until then answers no
// questions about the command.
func (c *command) ended(ctx context.Context) bool {
	if c.process == nil {
		ctx, cancel := context.WithTimeout(ctx, stateTime)
		defer cancel()
		state, err := c.engine.ContainerExecInspect(ctx, c.id)
		switch {
		case err != nil:
			return errors.Is(err, context.DeadlineExceeded)
		case state.Pid == 0:
			return !state.Running
		}
		process, err := proctree.Find(c.container, state.Pid)
		if err != nil {
			return errdefs.IsNotFound(err)
		}
		c.process = &process
	}
	return !c.process.Alive()
}
