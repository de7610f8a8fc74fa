// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// The streams of an engine that was killed end like those of a process. Its
// commands go on, but a new engine knows nothing of them.
func TestStreamEndsWithTheEngine(t *testing.T) {
	e := newExecEngine(t, lasting)
	id, response := startExec(t, e, onTerminal)
	attached, err := e.ContainerAttach(t.Context(), "one", container.AttachOptions{Stream: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	next(t, response.Reader, "up")
	e.Restart()
	end(t, response.Reader)
	end(t, attached.Reader)
	if _, err := e.ContainerExecInspect(t.Context(), id); !errdefs.IsNotFound(err) {
		t.Errorf("inspect: %v", err)
	}
	if got := e.Execs(); len(got) != 1 {
		t.Errorf("running: %+v", got)
	}
	e.KillExec(id, 137)
	if got := e.Execs(); len(got) != 0 {
		t.Errorf("running: %+v", got)
	}
}

// An engine that hangs passes nothing on, in neither direction, nor the end.
func TestStreamHangs(t *testing.T) {
	e := newExecEngine(t, func(_ context.Context, std Stdio) int {
		fmt.Fprint(std.Stdout, "up")
		_, _ = io.CopyN(std.Stdout, std.Stdin, 1)
		return 0
	})
	nothing := func(conn net.Conn) {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes, %v of an engine that hangs", n, err)
		}
		_ = conn.SetReadDeadline(time.Time{})
	}
	_, response := startExec(t, e, onTerminal)
	next(t, response.Reader, "up")
	e.Hang()
	fmt.Fprint(response.Conn, "x")
	nothing(response.Conn)
	e.Resume()
	next(t, response.Reader, "x")
	end(t, response.Reader)

	id, response := startExec(t, e, onTerminal)
	next(t, response.Reader, "up")
	e.Hang()
	e.KillExec(id, 137)
	nothing(response.Conn)
	e.Resume()
	end(t, response.Reader)
}

// A stream whose context ends fails, also while the engine hangs.
func TestStreamEndsWithItsContext(t *testing.T) {
	e := newExecEngine(t, lasting)
	ctx, cancel := context.WithCancel(t.Context())
	response, err := e.ContainerExecAttach(ctx, createExec(t, e, onTerminal), container.ExecAttachOptions{Tty: true})
	if err != nil {
		t.Fatal(err)
	}
	next(t, response.Reader, "up")
	e.Hang()
	defer e.Resume()
	cancel()
	if _, err := io.ReadAll(response.Reader); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
}

// What runs in a container is told to whoever is attached at the time, and is
// killed with the container.
func TestProcessRun(t *testing.T) {
	e := newEngine(t)
	killed := make(chan error, 1)
	e.OnStart(func(container.InspectResponse) Process {
		return Process{Run: func(ctx context.Context, std Stdio) int {
			fmt.Fprint(std.Stdout, "up")
			<-ctx.Done()
			_, err := fmt.Fprint(std.Stdout, "late")
			killed <- err
			return 5
		}}
	})
	config := &container.Config{Image: "app:1", Tty: true}
	if _, err := e.ContainerCreate(t.Context(), config, nil, nil, nil, "one"); err != nil {
		t.Fatal(err)
	}
	options := container.AttachOptions{Stream: true, Stdout: true}
	response, err := e.ContainerAttach(t.Context(), "one", options)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Close()
	if err := e.ContainerStart(t.Context(), "one", container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	next(t, response.Reader, "up")
	e.Exit("one", 9)
	end(t, response.Reader)
	if err := <-killed; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write after the end: %v", err)
	}
	if got := state(t, e, "one"); got.ExitCode != 9 {
		t.Errorf("exit code %d, want that of the kill", got.ExitCode)
	}
}

// A client that does not read blocks the process, but not its end.
func TestStreamIsNotRead(t *testing.T) {
	returned := make(chan struct{})
	e := newExecEngine(t, func(ctx context.Context, std Stdio) int {
		defer close(returned)
		for {
			if _, err := std.Stdout.Write(make([]byte, 64<<10)); err != nil {
				return 0
			}
		}
	})
	id, _ := startExec(t, e, onTerminal)
	e.KillExec(id, 137)
	<-returned
}

// Whatever way streams end, no goroutine stays once the client has left and the
// process has ended.
func TestStreamsLeaveNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	e := newExecEngine(t, lasting)
	piped := onTerminal
	piped.Tty, piped.AttachStdin = false, false
	for _, options := range []container.ExecOptions{onTerminal, piped} {
		for range 5 {
			_, left := startExec(t, e, options)
			left.Close()
			id, killed := startExec(t, e, options)
			e.KillExec(id, 137)
			killed.Close()
			_, halved := startExec(t, e, options)
			_ = halved.CloseWrite()
			response, err := e.ContainerAttach(t.Context(), "one", container.AttachOptions{Stream: true, Stdout: true})
			if err != nil {
				t.Fatal(err)
			}
			_ = response.CloseWrite()
		}
	}
	e.StopBehind("one")
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for late := time.After(10 * time.Second); runtime.NumGoroutine() > before; {
		select {
		case <-again.C:
		case <-late:
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestEscape(t *testing.T) {
	for _, test := range []struct {
		keys, typed, passed string
		detached            bool
	}{
		{"", "ab\x10c", "ab\x10c", false},
		{"", "ab\x10", "ab", false},
		{"", "ab\x10\x11c", "ab", true},
		{"ctrl-@,ctrl-_,x", "\x10\x11\x00\x1fy", "\x10\x11\x00\x1fy", false},
		{"ctrl-@,ctrl-_,x", "\x00\x1fx", "", true},
		{"a,b", "aab", "aab", false}, // the second a is not taken for a first one, as by the engine
	} {
		keys, ok := detachKeys(test.keys)
		if !ok {
			t.Fatalf("keys %q are refused", test.keys)
		}
		// All at once, and key by key.
		whole := escape{keys: keys}
		passed, detached := whole.pass([]byte(test.typed))
		if string(passed) != test.passed || detached != test.detached {
			t.Errorf("keys %q, typed %q: passed %q, detached %v", test.keys, test.typed, passed, detached)
		}
		single, text, gone := escape{keys: keys}, "", false
		for _, key := range []byte(test.typed) {
			if !gone {
				passed, gone = single.pass([]byte{key})
				text += string(passed)
			}
		}
		if text != test.passed || gone != test.detached {
			t.Errorf("keys %q, typed %q one by one: passed %q, detached %v", test.keys, test.typed, text, gone)
		}
	}
	for _, bad := range []string{"ctrl-", "ctrl-?", "ab", "a,"} {
		if keys, ok := detachKeys(bad); ok {
			t.Errorf("keys %q are %q", bad, keys)
		}
	}
}
