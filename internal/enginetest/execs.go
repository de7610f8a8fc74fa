// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"context"
	"slices"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
)

// Both outputs of a command come apart and whole, then the stream ends. Inspect
// tells of the command at any time, and its process id soon after the start.
func execOutput(b *bench) {
	id := b.running(alone(), "exec", idle...)
	execID, s := b.exec(id, everything(speaks))
	s.mediaType(types.MediaTypeMultiplexedStream)
	stdout, stderr := s.outputs()
	b.equal("stdout", stdout, "out\n")
	b.equal("stderr", stderr, "err\n")
	c := b.execEnded(execID)
	b.equal("exit code", c.ExitCode, 7)
	b.equal("id", c.ExecID, execID)
	b.equal("container", c.ContainerID, id)
	if c.Pid <= 0 {
		b.Errorf("process id %d of a command that has run", c.Pid)
	}

	_, s = b.exec(id, everything(counts))
	stdout, _ = s.outputs()
	if lines := strings.Fields(stdout); len(lines) != 50000 || lines[49999] != "50000" {
		b.Errorf("%d lines of a long output", len(lines))
	}

	options := everything(speaks)
	options.AttachStdout = false
	_, s = b.exec(id, options)
	stdout, stderr = s.outputs()
	b.equal("stdout that was not asked for", stdout, "")
	b.equal("stderr alone", stderr, "err\n")
}

// The exit code is right as soon as inspect says that the command has ended,
// which may be some time after the stream's end, however short the command.
func execExitCodes(b *bench) {
	id := b.running(alone(), "exec", idle...)
	run := func(command []string, code int) {
		b.Helper()
		execID, s := b.exec(id, everything(command))
		s.outputs()
		b.equal("exit code", b.execEnded(execID).ExitCode, code)
	}
	run(exits(0), 0)
	run(exits(255), 255)
	run(dies, 137)
	for i := range 20 {
		run(exits(i), i)
	}
}

// Why a command cannot be started is told on its stdout, and by exit code 126,
// or 127 since 28 where there is no such file. It never has a process id.
func execMissing(b *bench) {
	id := b.running(alone(), "exec", idle...)
	execID, s := b.exec(id, everything(missing))
	stdout, stderr := s.outputs()
	if !strings.HasPrefix(stdout, "OCI runtime exec failed: ") || !strings.Contains(stdout, missing[0]) || !strings.HasSuffix(stdout, "\r\n") {
		b.Errorf("stdout %q", stdout)
	}
	b.equal("stderr", stderr, "")
	c := b.execEnded(execID)
	if c.ExitCode != 126 && c.ExitCode != 127 {
		b.Errorf("exit code %d", c.ExitCode)
	}
	b.equal("process id", c.Pid, 0)

	execID, s = b.exec(id, terminal(missing))
	if text := s.rest(); !strings.HasPrefix(text, "OCI runtime exec failed: ") {
		b.Errorf("terminal shows %q", text)
	}
	b.equal("process id", b.execEnded(execID).Pid, 0)
}

// attachExec is a start that is refused.
func (b *bench) attachExec(execID string) error {
	response, err := b.ContainerExecAttach(b.Context(), execID, container.ExecAttachOptions{})
	if err == nil {
		response.Close()
	}
	return err
}

// A refusal to create a command has a kind; the refusal to start one has none.
func execRefused(b *bench) {
	id := b.create(b.config(idle...), alone(), b.name("exec"))
	_, err := b.ContainerExecCreate(b.Context(), id, everything(idle))
	b.wantKind("create in a container that never ran", err, conflict)
	b.start(id)
	_, err = b.ContainerExecCreate(b.Context(), id, everything(nil))
	b.wantKind("create without a command", err, invalid)

	unknown := strings.Repeat("0", 64)
	b.wantKind("start what is not there", b.attachExec(unknown), other)
	_, err = b.ContainerExecInspect(b.Context(), unknown)
	b.wantKind("inspect what is not there", err, notFound)
	size := container.ResizeOptions{Height: 24, Width: 80}
	b.wantKind("resize what is not there", b.ContainerExecResize(b.Context(), unknown, size), notFound)

	b.stop(id)
	_, err = b.ContainerExecCreate(b.Context(), id, everything(idle))
	b.wantKind("create in a container that has ended", err, conflict)
}

// A command starts once. The engine answers another start with a stream that
// says so, and it cannot be resized after its end.
func execStartsOnce(b *bench) {
	id := b.running(alone(), "exec", idle...)
	execID, s := b.exec(id, everything(echoes))
	again := func(want string) {
		b.Helper()
		response, err := b.ContainerExecAttach(b.Context(), execID, container.ExecAttachOptions{})
		stdout, _ := b.opened("start again", response, err).outputs()
		if !strings.HasSuffix(stdout, execID+want+"\r\n") {
			b.Errorf("stdout %q, want that it%s", stdout, want)
		}
	}
	again(" is already running")
	s.endInput()
	stdout, _ := s.outputs()
	b.equal("stdout of the first", stdout, "end\n")
	b.execEnded(execID)
	again(" has already run")
	if b.ContainerExecResize(b.Context(), execID, container.ResizeOptions{Height: 24, Width: 80}) == nil {
		b.Error("resized after the end")
	}
}

// A command whose container ends before its start is forgotten.
func execStopped(b *bench) {
	id := b.running(alone(), "exec", idle...)
	created, err := b.ContainerExecCreate(b.Context(), id, everything(idle))
	b.must("create the command", err)
	c := b.inspectExec(created.ID)
	b.equal("before the start", c, container.ExecInspect{ExecID: created.ID, ContainerID: id})
	b.stop(id)
	b.wantKind("start", b.attachExec(created.ID), other)
	_, err = b.ContainerExecInspect(b.Context(), created.ID)
	b.wantKind("inspect", err, notFound)
}

// A command reads what its client writes. The end of the input leaves the output
// open. A command without input reads its end at once.
func execStdin(b *bench) {
	id := b.running(alone(), "exec", idle...)
	execID, s := b.exec(id, everything(echoes))
	s.types("one\n")
	s.tells("one\n")
	s.types("two\n")
	s.tells("two\n")
	s.endInput()
	stdout, _ := s.outputs()
	b.equal("after the end of the input", stdout, "end\n")
	b.equal("exit code", b.execEnded(execID).ExitCode, 0)

	options := everything(echoes)
	options.AttachStdin = false
	_, s = b.exec(id, options)
	stdout, _ = s.outputs()
	b.equal("without input", stdout, "end\n")
}

// A stream ends with its context, and the command does not.
func execContextEnds(b *bench) {
	id := b.running(alone(), "exec", idle...)
	for what, options := range map[string]container.ExecOptions{"pipes": everything(idle), "terminal": terminal(idle)} {
		created, err := b.ContainerExecCreate(b.Context(), id, options)
		b.must("create the command", err)
		ctx, cancel := context.WithCancel(b.Context())
		response, err := b.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{Tty: options.Tty})
		s := b.opened("start the command", response, err)
		s.endsWith(cancel)
		if c := b.execRuns(created.ID); c.ExitCode != 0 {
			b.Errorf("%s: %+v after the end of the context", what, c)
		}
	}
}

// The end of the container is that of its commands and their streams. The engine
// may then have forgotten the command.
func execContainerEnds(b *bench) {
	id := b.running(alone(), "exec", idle...)
	execID, s := b.exec(id, everything(lasts))
	s.tells("ready\n")
	b.stop(id)
	stdout, _ := s.outputs()
	b.equal("output after the end", stdout, "")
	c, err := b.ContainerExecInspect(b.Context(), execID)
	for err == nil && c.Running {
		c, err = b.ContainerExecInspect(b.Context(), execID)
	}
	b.wantKind("inspect", err, none, notFound)
	if err == nil {
		b.equal("exit code", c.ExitCode, 137)
	}
	b.remove(id)
	_, err = b.ContainerExecInspect(b.Context(), execID)
	b.wantKind("inspect after the removal", err, notFound)
}

// Events tell of commands, too, with what they run in the action.
func execEvents(b *bench) {
	w := b.mine(timestamp())
	id := b.running(alone(), "exec", idle...)
	execID, s := b.exec(id, everything(exits(3)))
	s.outputs()
	var actions []string
	for range 5 {
		m := w.next()
		if strings.HasPrefix(string(m.Action), "exec_") {
			b.equal("id", m.Actor.ID, id)
			b.equal("command", m.Actor.Attributes["execID"], execID)
		}
		if m.Action == "exec_die" {
			b.equal("exit code", m.Actor.Attributes["exitCode"], "3")
		}
		actions = append(actions, string(m.Action))
	}
	text := strings.Join(exits(3), " ")
	want := []string{"create", "start", "exec_create: " + text, "exec_start: " + text, "exec_die"}
	if !slices.Equal(actions, want) {
		b.Errorf("actions %q, want %q", actions, want)
	}
}
