// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"k8s.io/klog/v2"

	"github.com/dockershimd/dockershimd/adapter/proctree"
)

// killTime bounds the end of a command that nobody waits for any more. A
// process in a paused container dies only after the pause.
const killTime = 10 * time.Second

// kill ends the command and all that it has started. The engine has no call
// for it. ctx has mostly ended already, so there is a deadline of our own.
func (c *command) kill(ctx context.Context) {
	log := klog.FromContext(ctx).WithValues("container", c.container, "exec", c.id)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	pid, err := c.awaitPID(ctx)
	if err == nil && pid != 0 {
		err = proctree.Kill(ctx, c.container, pid)
	}
	if err != nil {
		log.Error(err, "a command that nobody waits for may go on running")
		return
	}
	log.V(2).Info("command killed", "pid", pid)
}

// lateStart is how long a command may seem not to have been started, while the
// engine still reads the request that was given up.
const lateStart = time.Second

// awaitPID is the command's process, which the engine knows a moment after the
// start; 0 if it has never had one.
func (c *command) awaitPID(ctx context.Context) (int, error) {
	start := time.Now()
	state, err := c.await(ctx, func(state container.ExecInspect) bool {
		neverRan := !state.Running && (state.ExitCode != 0 || time.Since(start) > lateStart)
		return state.Pid != 0 || neverRan
	})
	if errdefs.IsNotFound(err) {
		return 0, nil // it has ended with its container
	}
	return state.Pid, err
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
