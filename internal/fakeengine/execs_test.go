// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
)

// lasting is a command that says so and runs until it is killed.
func lasting(ctx context.Context, std Stdio) int {
	fmt.Fprint(std.Stdout, "up")
	<-ctx.Done()
	return 1
}

// newExecEngine has a container, "one", in which commands do what run does.
func newExecEngine(t *testing.T, run func(context.Context, Stdio) int) *Engine {
	e := newEngine(t)
	start(t, e, "one")
	e.OnExec(func(container.InspectResponse, container.ExecOptions) Command { return Command{Run: run} })
	return e
}

// onTerminal makes streams raw, which are easier to read.
var onTerminal = container.ExecOptions{Cmd: []string{"run"}, Tty: true, AttachStdin: true, AttachStdout: true, AttachStderr: true}

func createExec(t *testing.T, e *Engine, options container.ExecOptions) string {
	t.Helper()
	created, err := e.ContainerExecCreate(t.Context(), "one", options)
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}

func startExec(t *testing.T, e *Engine, options container.ExecOptions) (string, types.HijackedResponse) {
	t.Helper()
	id := createExec(t, e, options)
	response, err := e.ContainerExecAttach(t.Context(), id, container.ExecAttachOptions{Tty: options.Tty})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(response.Close)
	return id, response
}

func inspectExec(t *testing.T, e *Engine, id string) container.ExecInspect {
	t.Helper()
	state, err := e.ContainerExecInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// next reads what has to come next.
func next(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v, want %q", got[:n], err, want)
	}
}

// end reads the end of a stream.
func end(t *testing.T, r io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("read %q, %v, want the end", rest, err)
	}
}

// What a process does by itself shows in the second answer only.
func TestExecInspectIsLate(t *testing.T) {
	e := newExecEngine(t, lasting)
	id, response := startExec(t, e, onTerminal)
	next(t, response.Reader, "up")
	if got := inspectExec(t, e, id); !got.Running || got.Pid != 0 {
		t.Errorf("first answer after the start: %+v", got)
	}
	running := inspectExec(t, e, id)
	if !running.Running || running.Pid <= maxPID {
		t.Errorf("second answer after the start: %+v", running)
	}
	e.KillExec(id, 9)
	end(t, response.Reader)
	if got := inspectExec(t, e, id); got != running {
		t.Errorf("first answer after the end: %+v", got)
	}
	if got := inspectExec(t, e, id); got.Running || got.ExitCode != 9 || got.Pid != running.Pid {
		t.Errorf("second answer after the end: %+v", got)
	}
}

func TestOnExec(t *testing.T) {
	e := newEngine(t)
	one := start(t, e, "one")
	_, response := startExec(t, e, onTerminal)
	end(t, response.Reader)

	var seen container.InspectResponse
	var asked container.ExecOptions
	e.OnExec(func(c container.InspectResponse, options container.ExecOptions) Command {
		seen, asked = c, options
		return Command{Error: "no such thing\r\n", ExitCode: 126}
	})
	quiet := onTerminal
	quiet.AttachStdout = false
	id, response := startExec(t, e, quiet)
	next(t, response.Reader, "no such thing\r\n")
	end(t, response.Reader)
	if got := inspectExec(t, e, id); got.Running || got.Pid != 0 || got.ExitCode != 126 {
		t.Errorf("a command that cannot be started: %+v", got)
	}
	if seen.ID != one || len(asked.Cmd) != 1 {
		t.Errorf("the hook saw container %q and command %q", seen.ID, asked.Cmd)
	}
	if err := e.ContainerExecResize(t.Context(), id, container.ResizeOptions{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("resize of a command that cannot be started: %v", err)
	}

	e.OnExec(func(container.InspectResponse, container.ExecOptions) Command { return Command{PID: 7, ExitCode: 3} })
	id, _ = startExec(t, e, onTerminal)
	inspectExec(t, e, id)
	if got := inspectExec(t, e, id); got.Running || got.Pid != 7 || got.ExitCode != 3 {
		t.Errorf("a command that ended at once: %+v", got)
	}
}

// A command outlives its client, and is left over until it is killed or its
// container ends.
func TestExecs(t *testing.T) {
	e := newExecEngine(t, lasting)
	first, response := startExec(t, e, onTerminal)
	response.Close()
	second, response := startExec(t, e, onTerminal)
	createExec(t, e, onTerminal)
	if got := e.Execs(); len(got) != 2 || got[0].ID != first || got[1].ID != second || got[1].Options.Cmd[0] != "run" {
		t.Errorf("running: %+v", got)
	}
	e.KillExec(first, 137)
	if got := e.Execs(); len(got) != 1 || got[0].ID != second {
		t.Errorf("running: %+v", got)
	}
	next(t, response.Reader, "up")
	e.StopBehind("one")
	end(t, response.Reader)
	if got := e.Execs(); len(got) != 0 {
		t.Errorf("running after the end of the container: %+v", got)
	}
	if got := inspectExec(t, e, second); got.Running || got.ExitCode != 137 {
		t.Errorf("a command of a container that has ended: %+v", got)
	}
}

// Before API 1.42 there is no console size, and streams have no type.
func TestExecOfOldAPI(t *testing.T) {
	e := newEngine(t)
	e.SetAPIVersion("1.41")
	start(t, e, "one")
	var asked container.ExecOptions
	e.OnExec(func(_ container.InspectResponse, options container.ExecOptions) Command {
		asked = options
		return Command{}
	})
	options := onTerminal
	options.ConsoleSize = &[2]uint{24, 80}
	_, response := startExec(t, e, options)
	if kind, known := response.MediaType(); known || asked.ConsoleSize != nil {
		t.Errorf("media type %q, console size %v", kind, asked.ConsoleSize)
	}
}

func TestExecResizeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExecEngine(t, lasting)
		id := createExec(t, e, onTerminal)
		if err := e.ContainerExecResize(t.Context(), id, container.ResizeOptions{}); !errdefs.IsInternal(err) {
			t.Errorf("resize of a command that never starts: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), startTime/2)
		defer cancel()
		if err := e.ContainerExecResize(ctx, id, container.ResizeOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("resize past its deadline: %v", err)
		}
	})
}

// A command whose start is lost on its way never runs; if only the answer is
// lost, it does.
func TestExecAttachFaults(t *testing.T) {
	for _, test := range []struct {
		when When
		left int
	}{{Before, 0}, {After, 1}} {
		e := newExecEngine(t, lasting)
		id := createExec(t, e, onTerminal)
		e.ResetCalls()
		e.FailNth(1, test.when, errTest)
		if _, err := e.ContainerExecAttach(t.Context(), id, container.ExecAttachOptions{}); !errors.Is(err, errTest) {
			t.Errorf("when %d: %v", test.when, err)
		}
		if got := len(e.Execs()); got != test.left {
			t.Errorf("when %d: %d commands run, want %d", test.when, got, test.left)
		}

		id = createExec(t, e, onTerminal)
		e.ResetCalls()
		ctx, cancel := context.WithCancel(t.Context())
		e.CancelNth(1, test.when, cancel)
		if _, err := e.ContainerExecAttach(ctx, id, container.ExecAttachOptions{}); !errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
			t.Errorf("when %d: %v, want only that the connection was closed", test.when, err)
		}
		if got := len(e.Execs()); got != 2*test.left {
			t.Errorf("when %d: %d commands run, want %d", test.when, got, 2*test.left)
		}
		e.StopBehind("one")
	}
}
