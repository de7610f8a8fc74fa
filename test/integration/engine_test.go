// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
)

// engine is the rig's engine, in the hands of somebody else than the daemon.
type engine struct{ *client.Client }

func dialEngine(t *testing.T) engine {
	t.Helper()
	c, err := client.NewClientWithOpts(client.WithHost(os.Getenv("ENGINE_HOST")), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return engine{c}
}

// pid is the engine's process.
func (e engine) pid(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(os.Getenv("RIG_DIR"), "dockerd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func (e engine) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(e.pid(t), signal); err != nil {
		t.Fatalf("signal %s to the engine: %v", signal, err)
	}
}

// end sends the signal and waits until the process is gone.
func (e engine) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	pid := e.pid(t)
	e.signal(t, signal)
	within(t, 3*patience, "the engine ends", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

// start starts the engine again, and returns when it answers.
func (e engine) start(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command(os.Getenv("ENGINE_START"), args...).CombinedOutput(); err != nil {
		t.Fatalf("start the engine: %v\n%s", err, out)
	}
}

func (e engine) inspect(t testing.TB, id string) container.InspectResponse {
	t.Helper()
	c, err := e.ContainerInspect(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// remove is docker rm -f.
func (e engine) remove(t testing.TB, id string) {
	t.Helper()
	if err := e.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
}

// named lists the containers whose name contains the text.
func (e engine) named(t testing.TB, text string) []container.Summary {
	t.Helper()
	list, err := e.ContainerList(context.Background(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", text))})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// foreign runs a container that is not the daemon's.
func (e engine) foreign(t testing.TB, name string) (id string) {
	t.Helper()
	created, err := e.ContainerCreate(t.Context(), &container.Config{Image: busybox, Cmd: []string{"sleep", "1000"}},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, name)
	if err == nil {
		t.Cleanup(func() { e.remove(t, created.ID) })
		err = e.ContainerStart(t.Context(), created.ID, container.StartOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}
