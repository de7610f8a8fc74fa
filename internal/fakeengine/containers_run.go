// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
)

// Process is what runs in a container. The zero value runs until it is stopped.
type Process struct {
	// PID, where zero stands for a number that no process has.
	PID int
	// Exited makes the process end as soon as it has started, with ExitCode.
	Exited   bool
	ExitCode int
	// Run, unless nil, is the process's work, on a goroutine of its own: what it
	// writes reaches those who are attached, and what they type it reads. The
	// container exits with what it returns. The context ends when the container
	// does otherwise; what Run returns then does not matter.
	Run func(ctx context.Context, std Stdio) (exitCode int)
	// Error, unless empty, is why the command cannot be run: the start fails
	// with that text, and ExitCode, such as 127, is shown by inspect.
	Error string
}

// maxPID is the largest process id that Linux can be configured to give out;
// the ids above are nobody's.
const maxPID = 1 << 22

// OnStart has run called for each container that starts, to say what its
// process does; it sees what inspect shows. It must not use the Engine.
func (e *Engine) OnStart(run func(c container.InspectResponse) Process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.run = run
}

// ContainerStart runs the container; one that runs already is left alone.
func (e *Engine) ContainerStart(ctx context.Context, id string, options container.StartOptions) error {
	return act(ctx, e, Call{"ContainerStart", id, options}, func() error {
		c, err := e.find(id)
		if err != nil || c.State.Running {
			return err
		}
		return e.start(c)
	})
}

func (e *Engine) start(c *entry) error {
	if err := e.checkDonorsRun(c.HostConfig); err != nil {
		return startFailed(c, 128, err)
	}
	if err := e.provideFiles(c); err != nil {
		return startFailed(c, 128, internal("%v", err))
	}
	process := e.run(wire(c.InspectResponse))
	if process.Error != "" {
		return startFailed(c, process.ExitCode, invalid("failed to create task for container: %s", process.Error))
	}
	if process.PID == 0 {
		e.lastPID++
		process.PID = e.lastPID
	}
	c.State = &container.State{
		Status: container.StateRunning, Running: true, Pid: process.PID,
		StartedAt: now(), FinishedAt: c.State.FinishedAt,
	}
	e.containerEvent(c, events.ActionStart)
	switch {
	case process.Exited:
		e.exit(c, process.ExitCode)
	case process.Run != nil:
		e.work(c, c.task, process.Run)
	}
	return nil
}

func (e *Engine) work(c *entry, t *task, run func(context.Context, Stdio) int) {
	if !c.Config.OpenStdin {
		t.stdin.close()
	}
	if size := c.HostConfig.ConsoleSize; c.Config.Tty && size != [2]uint{} {
		t.resize(size)
	}
	std := t.stdio(c.Config.Tty)
	go func() {
		code := run(t.ctx, std)
		e.mu.Lock()
		defer e.mu.Unlock()
		if !t.over() {
			e.exit(c, code)
		}
	}()
}

// startFailed leaves the container as it was, but for the exit code and the
// error. No event tells of it.
func startFailed(c *entry, code int, err error) error {
	c.State.ExitCode = code
	c.State.Error = err.Error()
	return err
}

// ContainerStop kills a running container: like most programs that run as
// process 1, this one does not heed SIGTERM, but its time passes at once.
func (e *Engine) ContainerStop(ctx context.Context, id string, options container.StopOptions) error {
	return act(ctx, e, Call{"ContainerStop", id, options}, func() error {
		c, err := e.find(id)
		if err != nil || !c.State.Running {
			return err
		}
		e.stop(c)
		return nil
	})
}

// stop tells of the stop before the death, as dockerd does since 26; 20.10 does
// it the other way round.
func (e *Engine) stop(c *entry) {
	e.kill(c, 15)
	e.kill(c, 9)
	e.end(c, 137)
	e.containerEvent(c, events.ActionStop)
	e.dieEvent(c)
}

func (e *Engine) exit(c *entry, code int) {
	e.end(c, code)
	e.dieEvent(c)
}

// end is the end of the container's process and of its commands; the event
// comes after it.
func (e *Engine) end(c *entry, code int) {
	c.task.end()
	c.task = newTask()
	e.endExecs(c)
	c.State = &container.State{
		Status: container.StateExited, ExitCode: code, OOMKilled: c.State.OOMKilled,
		StartedAt: c.State.StartedAt, FinishedAt: now(),
	}
}

// donors are the containers whose namespaces the container shares.
func donors(host *container.HostConfig) (net, ipc, pid string) {
	if host.NetworkMode.IsContainer() {
		net = host.NetworkMode.ConnectedContainer()
	}
	return net, host.IpcMode.Container(), host.PidMode.Container()
}

// checkDonors is the check at creation. A missing network donor passes: dockerd
// notices it at start.
func (e *Engine) checkDonors(host *container.HostConfig) error {
	_, ipc, pid := donors(host)
	for _, id := range []string{ipc, pid} {
		if id == "" {
			continue
		}
		if _, err := e.find(id); err != nil {
			return invalid("No such container: %s", id)
		}
	}
	return nil
}

func (e *Engine) checkDonorsRun(host *container.HostConfig) error {
	net, ipc, pid := donors(host)
	for _, id := range []string{net, ipc, pid} {
		if id == "" {
			continue
		}
		donor, err := e.find(id)
		if err != nil {
			return err
		}
		if !donor.State.Running {
			return conflict("cannot join namespace of a non running container: container %s is %s", id, donor.State.Status)
		}
		if id == ipc && !donor.HostConfig.IpcMode.IsShareable() {
			return internal("failed to join IPC namespace: container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)", id)
		}
	}
	return nil
}

// provideFiles makes the files that dockerd makes at a start, or takes those of
// the container whose network this one shares.
func (e *Engine) provideFiles(c *entry) error {
	dir := e.filesDir(c)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	c.LogPath = filepath.Join(dir, c.ID+"-json.log")
	if net, _, _ := donors(c.HostConfig); net != "" {
		donor, err := e.find(net)
		if err != nil {
			return err
		}
		c.Config.Hostname = donor.Config.Hostname
		c.ResolvConfPath, c.HostnamePath, c.HostsPath = donor.ResolvConfPath, donor.HostnamePath, donor.HostsPath
		return os.WriteFile(c.LogPath, nil, 0o600)
	}
	c.ResolvConfPath = filepath.Join(dir, "resolv.conf")
	c.HostnamePath = filepath.Join(dir, "hostname")
	c.HostsPath = filepath.Join(dir, "hosts")
	for path, content := range map[string]string{
		c.ResolvConfPath: "# Generated by Docker Engine.\nnameserver 192.0.2.1\n",
		c.HostnamePath:   c.Config.Hostname + "\n",
		c.HostsPath:      "127.0.0.1\tlocalhost\n",
		c.LogPath:        "",
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) removeFiles(c *entry) {
	if err := os.RemoveAll(e.filesDir(c)); err != nil {
		panic("fakeengine: remove a container's files: " + err.Error())
	}
}

func (e *Engine) filesDir(c *entry) string { return filepath.Join(e.dir, "containers", c.ID) }

// never is the time of what has not happened.
const never = "0001-01-01T00:00:00Z"

func now() string { return time.Now().UTC().Format(time.RFC3339Nano) }
