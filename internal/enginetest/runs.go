// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"os"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

// A container goes from created to running to exited, and may run again.
func runLifeCycle(b *bench) {
	id := b.create(b.config(idle...), alone(), b.name("life"))
	before := time.Now()
	b.start(id)

	c := b.inspect(id)
	b.equal("status", c.State.Status, "running")
	b.equal("running", c.State.Running, true)
	if c.State.Pid <= 0 {
		b.Errorf("process id %d of a running container", c.State.Pid)
	}
	started := b.moment("started", c.State.StartedAt)
	if started.Before(before.Add(-time.Second)) {
		b.Errorf("started at %v, want after %v", started, before)
	}
	b.equal("finished", c.State.FinishedAt, "0001-01-01T00:00:00Z")
	for _, path := range []string{c.ResolvConfPath, c.HostnamePath, c.LogPath} {
		if _, err := os.Stat(path); err != nil {
			b.Errorf("a file of the running container: %v", err)
		}
	}
	if !strings.HasSuffix(c.LogPath, id+"-json.log") {
		b.Errorf("log at %s, want a json-file", c.LogPath)
	}

	b.stop(id)
	c = b.inspect(id)
	b.equal("state", *c.State, container.State{
		Status: "exited", ExitCode: 137, StartedAt: c.State.StartedAt, FinishedAt: c.State.FinishedAt,
	})
	if finished := b.moment("finished", c.State.FinishedAt); !finished.After(started) {
		b.Errorf("finished at %v, want after the start at %v", finished, started)
	}

	b.start(id)
	c = b.inspect(id)
	b.equal("status", c.State.Status, "running")
	b.equal("exit code", c.State.ExitCode, 0)
	if again := b.moment("started", c.State.StartedAt); !again.After(started) {
		b.Errorf("started again at %v, want after %v", again, started)
	}
}

// To start what runs and to stop what does not is no error and no change.
func runRepeats(b *bench) {
	id := b.create(b.config(idle...), alone(), b.name("repeats"))
	b.stop(id)
	b.equal("status of a stopped new container", b.inspect(id).State.Status, "created")
	b.start(id)
	first := b.inspect(id).State
	b.start(id)
	b.equal("state after a second start", b.inspect(id).State, first)
	b.stop(id)
	last := b.inspect(id).State
	b.stop(id)
	b.equal("state after a second stop", b.inspect(id).State, last)
}

// A process that ends at once leaves its exit code.
func runExitCode(b *bench) {
	for _, code := range []int{0, 3, 255} {
		since := timestamp()
		id := b.running(alone(), "exit", exits(code)...)
		b.equal("exit code", b.exitCode(id, since), code)
		b.equal("status", b.inspect(id).State.Status, "exited")
		b.remove(id)
	}
}

// A command that is not there fails the start as an invalid argument. The
// container stays created, with the error and exit code 127, and without the
// events of a start and an end.
func runCannotStart(b *bench) {
	since := timestamp()
	id := b.create(b.config(missing...), alone(), b.name("missing"))
	b.wantKind("start", b.ContainerStart(b.Context(), id, container.StartOptions{}), invalid)
	c := b.inspect(id)
	b.equal("status", c.State.Status, "created")
	b.equal("exit code", c.State.ExitCode, 127)
	b.equal("started", c.State.StartedAt, "0001-01-01T00:00:00Z")
	b.equal("finished", c.State.FinishedAt, "0001-01-01T00:00:00Z")
	if !strings.Contains(c.State.Error, missing[0]) {
		b.Errorf("error %q does not name the command", c.State.Error)
	}
	b.remove(id)
	b.equal("events", b.watch(since, "container", id).upTo("destroy"), []string{"create", "destroy"})
}

// The hostname reaches the container's file.
func runHostname(b *bench) {
	config := b.config(finds("web-0", "/etc/hostname")...)
	config.Hostname = "web-0"
	since := timestamp()
	id := b.create(config, alone(), b.name("hostname"))
	b.start(id)
	b.equal("exit code of the search", b.exitCode(id, since), 0)
}
