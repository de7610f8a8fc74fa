// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
)

// Each of the test's own hands is told by the events that dockerd would send.
func TestHands(t *testing.T) {
	for name, test := range map[string]struct {
		act  func(e *Engine, id string)
		want []string
	}{
		"exit":   {func(e *Engine, id string) { e.Exit(id, 3) }, []string{"die 3"}},
		"oom":    {func(e *Engine, id string) { e.OOMKill(id) }, []string{"oom ", "die 137"}},
		"stop":   {func(e *Engine, id string) { e.StopBehind(id) }, []string{"kill ", "kill ", "stop ", "die 137"}},
		"remove": {func(e *Engine, id string) { e.RemoveBehind(id) }, []string{"kill ", "die 137", "destroy "}},
		"rename": {func(e *Engine, id string) { e.RenameBehind(id, "two") }, []string{"rename "}},
		"tag":    {func(e *Engine, _ string) { e.Tag("app:1", "app:2") }, []string{"tag "}},
		"reload": {func(e *Engine, _ string) { e.Reload() }, []string{"reload "}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			id := start(t, e, "one")
			messages, _ := e.Events(t.Context(), events.ListOptions{})
			e.ResetCalls()
			test.act(e, id)
			for _, want := range test.want {
				m := <-messages
				if got := fmt.Sprint(m.Action, " ", m.Actor.Attributes["exitCode"]); got != want {
					t.Errorf("event %q, want %q", got, want)
				}
			}
			if len(e.Calls()) != 0 {
				t.Errorf("counted as calls: %v", e.Calls())
			}
		})
	}
}

func TestOOMKillShowsInState(t *testing.T) {
	e := newEngine(t)
	id := start(t, e, "one")
	e.OOMKill(id)
	if got := state(t, e, id); !got.OOMKilled || got.ExitCode != 137 {
		t.Errorf("state %+v", got)
	}
}

func TestHandsPanicWhenWrong(t *testing.T) {
	e := newEngine(t)
	id := create(t, e, "one")
	for name, act := range map[string]func(){
		"exit of what does not run": func() { e.Exit(id, 0) },
		"exit of what is not there": func() { e.Exit("none", 0) },
		"tag of what is not there":  func() { e.Tag("none:1", "x:1") },
		"no reference":              func() { e.AddImage(Image{Tags: []string{"UPPER"}}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s passed", name)
				}
			}()
			act()
		}()
	}
	if got := e.Leftovers(); !slices.Equal(got, []string{"one"}) {
		t.Errorf("containers %q", got)
	}
}

// An engine replays its last 256 events, whatever Since asks for.
func TestReplayIsLimited(t *testing.T) {
	e := newEngine(t)
	for range 300 {
		e.Reload()
	}
	e.Tag("app:1", "app:last")
	messages, _ := e.Events(t.Context(), events.ListOptions{Since: "0", Filters: filters.NewArgs(filters.Arg("type", "daemon"), filters.Arg("type", "image"))})
	for i := 1; i <= 256; i++ {
		if m := <-messages; (m.Action == events.ActionTag) != (i == 256) {
			t.Fatalf("event %d is %s", i, m.Action)
		}
	}
}

func pull(t *testing.T, e *Engine, ref string, options image.PullOptions) (string, error) {
	t.Helper()
	body, err := e.ImagePull(t.Context(), ref, options)
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	return string(text), err
}

func TestPull(t *testing.T) {
	e := newEngine(t)
	digest := e.Publish("r.test/a:1", Remote{Image: Image{Size: 7}})
	text, err := pull(t, e, "r.test/a:1", image.PullOptions{})
	if err != nil || !strings.Contains(text, digest) || !strings.Contains(text, "Pull complete") {
		t.Errorf("progress %s, %v", text, err)
	}
	i, err := e.ImageInspect(t.Context(), "r.test/a@"+digest)
	if err != nil || i.Size != 7 || !slices.Equal(i.RepoTags, []string{"r.test/a:1"}) {
		t.Errorf("image %+v, %v", i, err)
	}
	newer := e.Publish("r.test/a:1", Remote{})
	if _, err := pull(t, e, "r.test/a:1", image.PullOptions{}); err != nil {
		t.Error(err)
	}
	j, err := e.ImageInspect(t.Context(), "r.test/a:1")
	if err != nil || j.ID == i.ID || newer == digest {
		t.Errorf("image %s after a newer one was published, %v", j.ID, err)
	}
}

func TestPullRefused(t *testing.T) {
	e := newEngine(t)
	e.Publish("r.test/a:1", Remote{Err: errTest})
	if _, err := pull(t, e, "r.test/a:1", image.PullOptions{}); !errors.Is(err, errTest) {
		t.Errorf("error %v", err)
	}
	e.Publish("r.test/b:1", Remote{Username: "me", Password: "secret"})
	for password, ok := range map[string]bool{"wrong": false, "secret": true} {
		header, err := registry.EncodeAuthConfig(registry.AuthConfig{Username: "me", Password: password})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pull(t, e, "r.test/b:1", image.PullOptions{RegistryAuth: header}); (err == nil) != ok {
			t.Errorf("password %q: %v", password, err)
		}
	}
}

// A pull that is broken off in the middle leaves nothing.
func TestPullBrokenOff(t *testing.T) {
	for name, end := range map[string]func(*Engine, context.CancelFunc, io.Closer){
		"context": func(_ *Engine, cancel context.CancelFunc, _ io.Closer) { cancel() },
		"engine":  func(e *Engine, _ context.CancelFunc, _ io.Closer) { e.Down() },
		"close":   func(_ *Engine, _ context.CancelFunc, c io.Closer) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t)
				e.Publish("r.test/a:1", Remote{Hold: make(chan struct{})})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				body, err := e.ImagePull(ctx, "r.test/a:1", image.PullOptions{})
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { _, err := io.Copy(io.Discard, body); ended <- err }()
				synctest.Wait()
				if len(ended) != 0 {
					t.Error("the pull was not held")
				}
				end(e, cancel, body)
				if err := <-ended; err == nil {
					t.Error("the stream ended without an error")
				}
				e.Up()
				if _, err := e.ImageInspect(t.Context(), "r.test/a:1"); !errdefs.IsNotFound(err) {
					t.Errorf("inspect: %v", err)
				}
			})
		})
	}
}
