// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/system"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// newEngine has one image, "app:1".
func newEngine(t *testing.T) *Engine {
	t.Helper()
	e := New(t.TempDir())
	e.AddImage(Image{Tags: []string{"app:1"}, Size: 1000})
	return e
}

func create(t *testing.T, e *Engine, name string) string {
	t.Helper()
	response, err := e.ContainerCreate(t.Context(), &container.Config{Image: "app:1", Cmd: []string{"run"}}, nil, nil, nil, name)
	if err != nil {
		t.Fatal(err)
	}
	return response.ID
}

func start(t *testing.T, e *Engine, name string) string {
	t.Helper()
	id := create(t, e, name)
	if err := e.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return id
}

func state(t *testing.T, e *Engine, id string) container.State {
	t.Helper()
	c, err := e.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return *c.State
}

func TestNothingIsShared(t *testing.T) {
	e := newEngine(t)
	config := &container.Config{Image: "app:1", Labels: map[string]string{"a": "b"}}
	host := &container.HostConfig{MaskedPaths: []string{}}
	response, err := e.ContainerCreate(t.Context(), config, host, nil, nil, "one")
	if err != nil {
		t.Fatal(err)
	}
	config.Labels["a"], host.MaskedPaths = "changed", nil
	for range 2 {
		c, err := e.ContainerInspect(t.Context(), response.ID)
		if err != nil {
			t.Fatal(err)
		}
		if c.Config.Labels["a"] != "b" || c.HostConfig.MaskedPaths == nil {
			t.Errorf("labels %v, masked paths %v: the engine shares them with its caller", c.Config.Labels, c.HostConfig.MaskedPaths)
		}
		c.Config.Labels["a"], c.State.Status = "changed", "changed"
	}
	if host.RestartPolicy.Name != "" {
		t.Errorf("the caller's host configuration was changed: %v", host.RestartPolicy)
	}
}

func TestOnStart(t *testing.T) {
	e := newEngine(t)
	var seen container.InspectResponse
	var process Process
	e.OnStart(func(c container.InspectResponse) Process { seen = c; return process })

	process = Process{PID: os.Getpid()}
	id := start(t, e, "real")
	if got := state(t, e, id).Pid; got != os.Getpid() {
		t.Errorf("process id %d, want %d", got, os.Getpid())
	}
	if seen.ID != id || seen.ResolvConfPath == "" {
		t.Errorf("the hook saw container %q with resolv.conf %q", seen.ID, seen.ResolvConfPath)
	}

	process = Process{}
	one, two := state(t, e, start(t, e, "one")).Pid, state(t, e, start(t, e, "two")).Pid
	if one <= 1<<22 || one == two {
		t.Errorf("process ids %d and %d, want two that no process has", one, two)
	}

	process = Process{Exited: true, ExitCode: 3}
	if got := state(t, e, start(t, e, "short")); got.Running || got.ExitCode != 3 || got.Pid != 0 {
		t.Errorf("state %+v, want exited with 3", got)
	}

	process = Process{Error: "exec: no such file", ExitCode: 127}
	id = create(t, e, "broken")
	err := e.ContainerStart(t.Context(), id, container.StartOptions{})
	if got := state(t, e, id); !errdefs.IsInvalidArgument(err) || got.ExitCode != 127 || got.Status != "created" {
		t.Errorf("error %v, state %+v", err, got)
	}
}

func TestAPIVersion(t *testing.T) {
	e := New(t.TempDir())
	e.SetAPIVersion("1.45")
	if got := e.ClientVersion(); got != "1.51" {
		t.Errorf("version %s before the first call, want the client's newest", got)
	}
	for _, step := range []struct{ engine, want string }{{"1.45", "1.45"}, {"1.41", "1.41"}, {"1.51", "1.41"}} {
		e.SetAPIVersion(step.engine)
		e.NegotiateAPIVersion(t.Context())
		if got := e.ClientVersion(); got != step.want {
			t.Errorf("version %s with an engine of %s, want %s", got, step.engine, step.want)
		}
	}
	e.AddImage(Image{})
	list, err := e.ImageList(t.Context(), image.ListOptions{})
	if err != nil || !slices.Equal(list[0].RepoTags, []string{"<none>:<none>"}) {
		t.Errorf("tags %q (%v) of a nameless image at 1.41", list[0].RepoTags, err)
	}
}

func TestSetInfo(t *testing.T) {
	e := newEngine(t)
	start(t, e, "up")
	create(t, e, "new")
	e.SetInfo(func(i *system.Info) { i.CgroupDriver = "systemd" })
	info, err := e.Info(t.Context())
	if err != nil || info.CgroupDriver != "systemd" || info.Images != 1 || info.ContainersRunning != 1 || info.ContainersStopped != 1 {
		t.Errorf("info %+v, %v", info, err)
	}
}

func TestUnknownFiltersAreRefused(t *testing.T) {
	e := newEngine(t)
	unknown := filters.NewArgs(filters.Arg("ancestor", "x"))
	_, containers := e.ContainerList(t.Context(), container.ListOptions{Filters: unknown})
	_, images := e.ImageList(t.Context(), image.ListOptions{Filters: unknown})
	_, errs := e.Events(t.Context(), events.ListOptions{Filters: unknown})
	for _, err := range []error{containers, images, <-errs} {
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("error %v, want an invalid argument", err)
		}
	}
}

func TestImageFilters(t *testing.T) {
	e := New(t.TempDir())
	labelled := e.AddImage(Image{Tags: []string{"a:1"}, Config: ocispec.ImageConfig{Labels: map[string]string{"k": "v"}}})
	nameless := e.AddImage(Image{})
	for _, test := range []struct{ key, value, want string }{
		{"label", "k=v", labelled}, {"dangling", "true", nameless}, {"dangling", "false", labelled}, {"reference", "a", labelled}, {"reference", "a:*", labelled},
	} {
		list, err := e.ImageList(t.Context(), image.ListOptions{Filters: filters.NewArgs(filters.Arg(test.key, test.value))})
		if err != nil || len(list) != 1 || list[0].ID != test.want {
			t.Errorf("%s=%s: %v, %v", test.key, test.value, list, err)
		}
	}
}

// Many callers at once are for the race detector, and for each event to come
// once to each stream.
func TestManyCallers(t *testing.T) {
	const callers = 8
	e := newEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	messages, _ := e.Events(ctx, events.ListOptions{Filters: filters.NewArgs(filters.Arg("event", "destroy"))})
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			name := fmt.Sprintf("caller-%d", i)
			id := start(t, e, name)
			_, listErr := e.ContainerList(ctx, container.ListOptions{All: true})
			stopErr := e.ContainerStop(ctx, id, container.StopOptions{})
			removeErr := e.ContainerRemove(ctx, id, container.RemoveOptions{})
			if listErr != nil || stopErr != nil || removeErr != nil {
				t.Error(listErr, stopErr, removeErr)
			}
		})
	}
	gone := map[string]bool{}
	for range callers {
		gone[(<-messages).Actor.ID] = true
	}
	all.Wait()
	if len(gone) != callers || len(e.Leftovers()) != 0 {
		t.Errorf("%d containers told to be gone, %q left", len(gone), e.Leftovers())
	}
}
