// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"github.com/dockershimd/dockershimd/internal/fakeengine"
)

// runsCommand has each command do the same.
func (r *rig) runsCommand(c fakeengine.Command) {
	r.engine.OnExec(func(container.InspectResponse, container.ExecOptions) fakeengine.Command { return c })
}

// untilKilled is a command that does not end by itself.
func untilKilled(ctx context.Context, _ fakeengine.Stdio) int {
	<-ctx.Done()
	return 0
}

// running is a container in which commands can be run.
func (r *rig) running() string {
	r.t.Helper()
	_, id := r.runContainer(podConfig("web"), containerConfig("app"))
	r.engine.ResetCalls()
	return id
}

func TestExecSync(t *testing.T) {
	r := newRig(t)
	id := r.running()
	r.engine.OnExec(func(_ container.InspectResponse, o container.ExecOptions) fakeengine.Command {
		return fakeengine.Command{Run: func(_ context.Context, std fakeengine.Stdio) int {
			fmt.Fprint(std.Stdout, "ran ", o.Cmd)
			fmt.Fprint(std.Stderr, "complained")
			return 7
		}}
	})
	out, err := r.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"a", "b"}, Timeout: 10})
	if err != nil || string(out.Stdout) != "ran [a b]" || string(out.Stderr) != "complained" || out.ExitCode != 7 {
		t.Errorf("%v, %v", out, err)
	}
	// The fake is late by one answer.
	r.wantCalls("ContainerExecCreate", "ContainerExecAttach", "ContainerExecInspect", "ContainerExecInspect")
}

func TestExecSyncOfWhatCannotStart(t *testing.T) {
	r := newRig(t)
	id := r.running()
	request := &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"nothing"}}
	r.runsCommand(fakeengine.Command{ExitCode: 126, Error: "OCI runtime exec failed: exec failed: exec: \"nothing\": executable file not found in $PATH: unknown\r\n"})
	out, err := r.ExecSync(t.Context(), request)
	if err != nil || out.ExitCode != 127 || len(out.Stdout) > 0 || string(out.Stderr) != "exec: \"nothing\": executable file not found in $PATH\n" {
		t.Errorf("%v, %v", out, err)
	}
	r.runsCommand(fakeengine.Command{ExitCode: 126, Error: "OCI runtime exec failed: cannot exec in a stopped container: unknown\r\n"})
	_, err = r.ExecSync(t.Context(), request)
	wantKind(t, err, errdefs.IsInternal)
	if err == nil || !strings.Contains(err.Error(), "stopped container") {
		t.Errorf("error %v", err)
	}
}

func TestExecSyncTimeout(t *testing.T) {
	r := newRig(t)
	id := r.running()
	r.runsCommand(fakeengine.Command{Run: untilKilled})
	_, err := r.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"sleep"}, Timeout: 1})
	if code := coded(err).Error(); !strings.Contains(code, "DeadlineExceeded") || !strings.Contains(code, "within 1 s") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{})
	r.runsCommand(fakeengine.Command{Run: func(ctx context.Context, std fakeengine.Stdio) int {
		close(started)
		return untilKilled(ctx, std)
	}})
	go func() {
		<-started
		cancel()
	}()
	_, err = r.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"sleep"}, Timeout: 100})
	if code := coded(err).Error(); !strings.Contains(code, "Canceled") {
		t.Errorf("error %v", err)
	}
	for _, left := range r.engine.Execs() {
		r.engine.KillExec(left.ID, 137)
	}
}

// A pid that is not the container's is somebody else's by now.
func TestKillSparesForeignProcess(t *testing.T) {
	foreign := exec.Command("sleep", "1000")
	foreign.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := foreign.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = foreign.Wait()
	}()
	t.Cleanup(func() {
		_ = foreign.Process.Kill()
		<-ended
	})
	r := newRig(t)
	id := r.running()
	r.runsCommand(fakeengine.Command{PID: foreign.Process.Pid, Run: untilKilled})
	if _, err := r.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"sleep"}, Timeout: 1}); err == nil {
		t.Error("no error")
	}
	select {
	case <-ended:
		t.Error("a process that is not the container's was killed")
	default:
	}
	for _, left := range r.engine.Execs() {
		r.engine.KillExec(left.ID, 137)
	}
}

// TestExecSyncFailureWalk lets each engine call of an ExecSync fail in turn.
func TestExecSyncFailureWalk(t *testing.T) {
	for n := 1; ; n++ {
		r := newRig(t)
		id := r.running()
		r.engine.FailNth(n, fakeengine.Before, errFault)
		_, err := r.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}})
		if len(r.engine.Calls()) < n {
			break
		}
		if err == nil && n != 3 { // the third asks anew
			t.Errorf("call %d fails, and ExecSync does not", n)
		}
		if out, err := r.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}}); err != nil || out.ExitCode != 0 {
			t.Errorf("after a fault at call %d: %v, %v", n, out, err)
		}
	}
}

func TestExecSyncRefused(t *testing.T) {
	r := newRig(t)
	sandbox := r.runPod(podConfig("web"))
	created := r.createContainer(sandbox, podConfig("web"), containerConfig("app"))
	for what, test := range map[string]struct {
		request *cri.ExecSyncRequest
		kind    func(error) bool
	}{
		"no command":  {&cri.ExecSyncRequest{ContainerId: created}, errdefs.IsInvalidArgument},
		"no id":       {&cri.ExecSyncRequest{Cmd: []string{"true"}}, errdefs.IsInvalidArgument},
		"unknown":     {&cri.ExecSyncRequest{ContainerId: "ffff", Cmd: []string{"true"}}, errdefs.IsNotFound},
		"not running": {&cri.ExecSyncRequest{ContainerId: created, Cmd: []string{"true"}}, errdefs.IsFailedPrecondition},
	} {
		if _, err := r.ExecSync(t.Context(), test.request); !test.kind(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// remote is a client of StreamExec and StreamAttach.
type remote struct {
	in        *io.PipeReader
	out, errs bytes.Buffer
}

// A command gets its input to the end, and the client all of its output.
func TestStreamExec(t *testing.T) {
	r := newRig(t)
	id := r.running()
	r.runsCommand(fakeengine.Command{Run: func(_ context.Context, std fakeengine.Stdio) int {
		n, _ := io.Copy(std.Stdout, std.Stdin)
		fmt.Fprint(std.Stderr, n)
		return 3
	}})
	read, write := io.Pipe()
	want := pattern(5 << 20)
	go func() {
		_, _ = write.Write(want)
		write.Close()
	}()
	c := remote{in: read}
	code, err := r.StreamExec(t.Context(), &cri.ExecRequest{ContainerId: id, Cmd: []string{"cat"}, Stdin: true, Stdout: true, Stderr: true}, c.in, &c.out, &c.errs, nil)
	if err != nil || code != 3 || !bytes.Equal(c.out.Bytes(), want) || c.errs.String() != fmt.Sprint(len(want)) {
		t.Errorf("exit code %d, %d bytes, %q, %v", code, c.out.Len(), c.errs.String(), err)
	}
}

// A command that ends does not wait for a client that says nothing.
func TestStreamExecLeavesInput(t *testing.T) {
	r := newRig(t)
	id := r.running()
	read, write := io.Pipe()
	defer write.Close()
	code, err := r.StreamExec(t.Context(), &cri.ExecRequest{ContainerId: id, Cmd: []string{"true"}, Stdin: true}, read, nil, nil, nil)
	if code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func TestStreamExecOnTerminal(t *testing.T) {
	r := newRig(t)
	id := r.running()
	r.engine.OnExec(func(_ container.InspectResponse, o container.ExecOptions) fakeengine.Command {
		return fakeengine.Command{Run: func(_ context.Context, std fakeengine.Stdio) int {
			seen := map[[2]uint]bool{}
			for len(seen) < 2 {
				seen[<-std.Sizes] = true
			}
			fmt.Fprint(std.Stdout, "detach by ", o.DetachKeys != "", seen)
			return 0
		}}
	})
	sizes := make(chan remotecommand.TerminalSize, 2)
	sizes <- remotecommand.TerminalSize{Width: 80, Height: 24}
	sizes <- remotecommand.TerminalSize{Width: 100, Height: 30}
	var out bytes.Buffer
	_, err := r.StreamExec(t.Context(), &cri.ExecRequest{ContainerId: id, Cmd: []string{"sh"}, Tty: true, Stdout: true}, nil, &out, nil, sizes)
	if want := "detach by true map[[24 80]:true [30 100]:true]"; err != nil || out.String() != want {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestStreamExecOfWhatCannotStart(t *testing.T) {
	r := newRig(t)
	id := r.running()
	r.runsCommand(fakeengine.Command{ExitCode: 127, Error: "OCI runtime exec failed: exec failed: exec: \"nothing\": executable file not found in $PATH\r\n"})
	const reason = "exec: \"nothing\": executable file not found in $PATH"
	var c remote
	code, err := r.StreamExec(t.Context(), &cri.ExecRequest{ContainerId: id, Cmd: []string{"nothing"}, Stdout: true, Stderr: true}, nil, &c.out, &c.errs, nil)
	if err != nil || code != 127 || c.out.Len() > 0 || c.errs.String() != reason+"\n" {
		t.Errorf("exit code %d, %q, %q, %v", code, c.out.String(), c.errs.String(), err)
	}
	var terminal bytes.Buffer
	code, err = r.StreamExec(t.Context(), &cri.ExecRequest{ContainerId: id, Cmd: []string{"nothing"}, Tty: true, Stdout: true}, nil, &terminal, nil, nil)
	if err != nil || code != 127 || terminal.String() != reason+"\r\n" {
		t.Errorf("exit code %d, %q, %v", code, terminal.String(), err)
	}
}

// lostWriter is a client that has gone.
type lostWriter struct{ writes atomic.Int32 }

func (w *lostWriter) Write([]byte) (int, error) {
	w.writes.Add(1)
	return 0, io.ErrClosedPipe
}

// A client that is gone ends the stream, and the command with it, even if
// nothing else tells of it.
func TestStreamExecForLostClient(t *testing.T) {
	r := newRig(t)
	id := r.running()
	r.runsCommand(fakeengine.Command{Run: func(ctx context.Context, std fakeengine.Stdio) int {
		for ctx.Err() == nil {
			if _, err := fmt.Fprint(std.Stdout, "more"); err != nil {
				break
			}
		}
		return 0
	}})
	// What is left to kill is looked for once the stream has ended.
	asked := 0
	r.engine.OnCall(func(_ context.Context, method string) error {
		if method == "ContainerExecInspect" {
			asked++
		}
		return nil
	})
	var lost lostWriter
	if _, err := r.StreamExec(t.Context(), &cri.ExecRequest{ContainerId: id, Cmd: []string{"yes"}, Stdout: true}, nil, &lost, nil, nil); err == nil || lost.writes.Load() != 1 {
		t.Errorf("%d writes, %v", lost.writes.Load(), err)
	}
	if asked == 0 {
		t.Error("the command of a lost client was left alone")
	}
	for _, left := range r.engine.Execs() {
		r.engine.KillExec(left.ID, 137)
	}
}

// The engine answers no questions about a command that has ended while its
// output waits to be fetched.
func TestEndedWithoutAnswer(t *testing.T) {
	r := newRig(t)
	id := r.running()
	c, err := r.runningContainer(id)
	if err != nil {
		t.Fatal(err)
	}
	run, err := r.newCommand(t.Context(), c, container.ExecOptions{Cmd: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	r.engine.Hang()
	defer r.engine.Resume()
	if !run.ended(t.Context()) {
		t.Error("the output is not fetched")
	}
}

func TestStreamAttach(t *testing.T) {
	r := newRig(t).watched()
	r.engine.OnStart(func(c container.InspectResponse) fakeengine.Process {
		if !c.Config.OpenStdin {
			return fakeengine.Process{}
		}
		return fakeengine.Process{Run: func(_ context.Context, std fakeengine.Stdio) int {
			line := make([]byte, 100)
			n, _ := std.Stdin.Read(line)
			fmt.Fprintf(std.Stdout, "got %s", line[:n])
			fmt.Fprint(std.Stderr, "complained")
			return 4
		}}
	})
	config := containerConfig("app")
	config.Stdin = true
	_, id := r.runContainer(podConfig("web"), config)
	read, write := io.Pipe()
	go func() { _, _ = io.WriteString(write, "hello") }()
	c := remote{in: read}
	err := r.StreamAttach(t.Context(), &cri.AttachRequest{ContainerId: id, Stdin: true, Stdout: true, Stderr: true}, c.in, &c.out, &c.errs, nil)
	if err != nil || c.out.String() != "got hello" || c.errs.String() != "complained" {
		t.Errorf("%q, %q, %v", c.out.String(), c.errs.String(), err)
	}
	err = r.StreamAttach(t.Context(), &cri.AttachRequest{ContainerId: id, Stdout: true}, nil, &c.out, nil, nil)
	wantKind(t, err, errdefs.IsFailedPrecondition)
}

// The engine may end, and the container go on.
func TestStreamAttachLosesEngine(t *testing.T) {
	r := newRig(t)
	id := r.running()
	go func() {
		r.eventually("the client is attached", func() bool { return r.engine.Count("ContainerAttach") == 1 })
		r.engine.Restart()
	}()
	var c remote
	err := r.StreamAttach(t.Context(), &cri.AttachRequest{ContainerId: id, Stdout: true}, nil, &c.out, nil, nil)
	if err == nil {
		t.Error("the end of the engine looks like that of the container")
	}
}

// A container that ends between the look at it and the attach is one that the
// engine keeps its client waiting for.
func TestStreamAttachToContainerThatHasEnded(t *testing.T) {
	r := newRig(t).watched()
	_, id := r.runContainer(podConfig("web"), containerConfig("app"))
	r.engine.OnCall(func(_ context.Context, method string) error {
		if method == "ContainerAttach" {
			r.engine.Exit(id, 0)
		}
		return nil
	})
	var c remote
	if err := r.StreamAttach(t.Context(), &cri.AttachRequest{ContainerId: id, Stdout: true}, nil, &c.out, nil, nil); err != nil {
		t.Error(err)
	}
}

func TestStreamAttachEndsWithClient(t *testing.T) {
	r := newRig(t)
	id := r.running()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var c remote
	err := r.StreamAttach(ctx, &cri.AttachRequest{ContainerId: id, Stdout: true}, nil, &c.out, nil, nil)
	if code := coded(err).Error(); !strings.Contains(code, "DeadlineExceeded") {
		t.Errorf("error %v", err)
	}
	if s := r.containerStatus(id); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %s", s.State)
	}
}
