// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

var errTest = errors.New("fault of the test")

func TestFailNth(t *testing.T) {
	for _, test := range []struct {
		when When
		left []string
	}{{Before, []string{}}, {After, []string{"one"}}} {
		e := newEngine(t)
		e.FailNth(2, test.when, errTest)
		_, first := e.Ping(t.Context())
		_, second := e.ContainerCreate(t.Context(), &container.Config{Image: "app:1"}, nil, nil, nil, "one")
		_, third := e.Ping(t.Context())
		if first != nil || !errors.Is(second, errTest) || third != nil {
			t.Errorf("when %d: errors %v, %v, %v, want the second only", test.when, first, second, third)
		}
		if got := e.Leftovers(); !slices.Equal(got, test.left) {
			t.Errorf("when %d: containers %q, want %q", test.when, got, test.left)
		}
		e.ResetCalls()
		e.FailNth(1, Before, errTest)
		if _, err := e.Ping(t.Context()); !errors.Is(err, errTest) {
			t.Errorf("first call since ResetCalls: %v", err)
		}
		e.ResetCalls()
		if _, err := e.Ping(t.Context()); err != nil {
			t.Errorf("the fault struck twice: %v", err)
		}
	}
}

func TestCancelNth(t *testing.T) {
	for _, test := range []struct {
		when When
		left []string
	}{{Before, []string{}}, {After, []string{"one"}}} {
		e := newEngine(t)
		ctx, cancel := context.WithCancel(t.Context())
		e.CancelNth(1, test.when, cancel)
		_, err := e.ContainerCreate(ctx, &container.Config{Image: "app:1"}, nil, nil, nil, "one")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("when %d: %v, want the context's error", test.when, err)
		}
		if got := e.Leftovers(); !slices.Equal(got, test.left) {
			t.Errorf("when %d: containers %q, want %q", test.when, got, test.left)
		}
	}
}

// A call with another context, such as a rollback's, is not struck.
func TestCancelNthOfAnotherContext(t *testing.T) {
	for _, when := range []When{Before, After} {
		e := newEngine(t)
		ctx, cancel := context.WithCancel(t.Context())
		e.CancelNth(1, when, cancel)
		if _, err := e.Ping(context.WithoutCancel(ctx)); err != nil {
			t.Errorf("when %d: %v", when, err)
		}
		if ctx.Err() == nil {
			t.Errorf("when %d: the context was not cancelled", when)
		}
	}
}

// everyCall makes each call once; all of them would succeed.
func everyCall(t *testing.T, e *Engine, ctx context.Context) map[string]error {
	t.Helper()
	errs := map[string]error{}
	_, errs["ContainerCreate"] = e.ContainerCreate(ctx, &container.Config{Image: "app:1"}, nil, nil, nil, "one")
	errs["ContainerStart"] = e.ContainerStart(ctx, "one", container.StartOptions{})
	_, errs["ContainerInspect"] = e.ContainerInspect(ctx, "one")
	_, errs["ContainerUpdate"] = e.ContainerUpdate(ctx, "one", container.UpdateConfig{})
	_, errs["ContainerList"] = e.ContainerList(ctx, container.ListOptions{})
	response, err := e.ContainerAttach(ctx, "one", container.AttachOptions{Stream: true})
	errs["ContainerAttach"] = closing(response, err)
	errs["ContainerResize"] = e.ContainerResize(ctx, "one", container.ResizeOptions{})
	created, err := e.ContainerExecCreate(ctx, "one", container.ExecOptions{Cmd: []string{"run"}})
	errs["ContainerExecCreate"] = err
	response, err = e.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	errs["ContainerExecAttach"] = closing(response, err)
	_, errs["ContainerExecInspect"] = e.ContainerExecInspect(ctx, created.ID)
	if created.ID == "" || err == nil { // else it would wait for the start
		errs["ContainerExecResize"] = e.ContainerExecResize(ctx, created.ID, container.ResizeOptions{})
	}
	if errdefs.IsInternal(errs["ContainerExecResize"]) {
		errs["ContainerExecResize"] = nil // the command has ended
	}
	errs["ContainerStop"] = e.ContainerStop(ctx, "one", container.StopOptions{})
	errs["ContainerRemove"] = e.ContainerRemove(ctx, "one", container.RemoveOptions{})
	_, errs["ImageList"] = e.ImageList(ctx, image.ListOptions{})
	_, errs["ImageInspect"] = e.ImageInspect(ctx, "app:1")
	_, errs["ImagePull"] = e.ImagePull(ctx, "remote:1", image.PullOptions{})
	_, errs["ImageLoad"] = e.ImageLoad(ctx, strings.NewReader(""))
	_, errs["ImageRemove"] = e.ImageRemove(ctx, "app:1", image.RemoveOptions{})
	_, errs["Ping"] = e.Ping(ctx)
	_, errs["Info"] = e.Info(ctx)
	_, errs["DiskUsage"] = e.DiskUsage(ctx, types.DiskUsageOptions{})
	streamCtx, cancel := context.WithCancel(ctx)
	_, stream := e.Events(streamCtx, events.ListOptions{})
	cancel()
	if errs["Events"] = <-stream; ctx.Err() == nil && errors.Is(errs["Events"], context.Canceled) {
		errs["Events"] = nil // ended by us, not by a fault
	}
	return errs
}

func closing(response types.HijackedResponse, err error) error {
	if err == nil {
		response.Close()
	}
	return err
}

func TestEveryCallMeetsFaults(t *testing.T) {
	e := newEngine(t)
	e.Publish("remote:1", Remote{})
	for method, err := range everyCall(t, e, t.Context()) {
		if err != nil {
			t.Errorf("%s without fault: %v", method, err)
		}
		if e.Count(method) != 1 {
			t.Errorf("%s was counted %d times", method, e.Count(method))
		}
	}
	e.OnCall(func(context.Context, string) error { return errTest })
	for method, err := range everyCall(t, e, t.Context()) {
		if !errors.Is(err, errTest) {
			t.Errorf("%s with a failing hook: %v", method, err)
		}
	}
	e.OnCall(nil)
	e.Down()
	for method, err := range everyCall(t, e, t.Context()) {
		stream := method == "ContainerAttach" || method == "ContainerExecAttach"
		if err == nil || client.IsErrConnectionFailed(err) == stream {
			t.Errorf("%s of an engine that is down: %v", method, err)
		}
	}
	e.Up()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for method, err := range everyCall(t, e, ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that is over: %v", method, err)
		}
	}
}

// Failing the n-th call for each n is how callers are tested; this is the loop.
func TestWalk(t *testing.T) {
	struck := 0
	for n := 1; ; n++ {
		e := newEngine(t)
		e.Publish("remote:1", Remote{})
		e.FailNth(n, Before, errTest)
		everyCall(t, e, t.Context())
		if len(e.Calls()) < n {
			break
		}
		struck++
	}
	if struck != 22 {
		t.Errorf("%d calls were struck, want each of 22", struck)
	}
}

func TestCalls(t *testing.T) {
	e := newEngine(t)
	id := start(t, e, "one")
	two := 2
	if err := e.ContainerStop(t.Context(), id, container.StopOptions{Timeout: &two}); err != nil {
		t.Fatal(err)
	}
	e.ClientVersion()
	calls := e.Calls()
	for i, want := range []Call{{"ContainerCreate", "one", nil}, {"ContainerStart", id, nil}, {"ContainerStop", id, nil}} {
		if calls[i].Method != want.Method || calls[i].Object != want.Object {
			t.Errorf("call %d is %v, want %v", i, calls[i], want)
		}
	}
	if len(calls) != 3 || e.Count("ContainerStop") != 1 || e.Count("Ping") != 0 {
		t.Errorf("calls %v", calls)
	}
	if got := calls[0].Request.(container.CreateRequest).Config.Image; got != "app:1" {
		t.Errorf("image %q in the request", got)
	}
	if got := calls[2].Request.(container.StopOptions).Timeout; *got != 2 {
		t.Errorf("timeout %d in the request", *got)
	}
}

func TestOnCallMayUseTheEngine(t *testing.T) {
	e := newEngine(t)
	id := start(t, e, "one")
	e.OnCall(func(_ context.Context, method string) error {
		if method == "ContainerInspect" {
			e.Exit(id, 5)
		}
		return nil
	})
	if got := state(t, e, id).ExitCode; got != 5 {
		t.Errorf("exit code %d, want that of the hook", got)
	}
}

func TestDown(t *testing.T) {
	e := newEngine(t)
	id := start(t, e, "one")
	_, errs := e.Events(t.Context(), events.ListOptions{})
	e.Down()
	if err := <-errs; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("stream of events ended with %v", err)
	}
	e.NegotiateAPIVersion(t.Context())
	e.Exit(id, 7)
	e.Up()
	if got := state(t, e, id); got.ExitCode != 7 {
		t.Errorf("state %+v, want what happened in the meantime", got)
	}
	messages, _ := e.Events(t.Context(), events.ListOptions{Since: "0"})
	create(t, e, "two")
	if m := <-messages; m.Action != events.ActionCreate || m.Actor.Attributes["name"] != "two" {
		t.Errorf("first event of an engine that has started anew: %v", m)
	}
}

func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t)
		messages, _ := e.Events(t.Context(), events.ListOptions{})
		e.Hang()
		e.Hang()
		ctx, cancel := context.WithCancel(t.Context())
		patient, impatient := make(chan error, 1), make(chan error, 1)
		go func() { _, err := e.Ping(t.Context()); patient <- err }()
		go func() { _, err := e.Ping(ctx); impatient <- err }()
		e.Reload()
		synctest.Wait()
		if len(patient)+len(impatient) != 0 {
			t.Error("a call was answered by an engine that hangs")
		}
		select {
		case m := <-messages:
			t.Errorf("an engine that hangs told of %s", m.Action)
		default:
		}
		cancel()
		if err := <-impatient; !errors.Is(err, context.Canceled) {
			t.Errorf("the call that was cancelled: %v", err)
		}
		e.Resume()
		e.Resume()
		if err := <-patient; err != nil {
			t.Errorf("the call that waited: %v", err)
		}
		if m := <-messages; m.Action != events.ActionReload {
			t.Errorf("first event after the pause: %s", m.Action)
		}
	})
}

func TestHangEndsInDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t)
		e.Hang()
		answer := make(chan error, 1)
		go func() { _, err := e.Ping(t.Context()); answer <- err }()
		synctest.Wait()
		e.Down()
		e.Resume()
		if err := <-answer; !client.IsErrConnectionFailed(err) {
			t.Errorf("call to an engine that was killed while it hung: %v", err)
		}
	})
}
