// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
)

// On a terminal the outputs are one, as they are.
func execTerminal(b *bench) {
	id := b.running(alone(), "exec", idle...)
	execID, s := b.exec(id, terminal(speaks))
	s.mediaType(types.MediaTypeRawStream)
	b.equal("terminal", s.rest(), "out\r\nerr\r\n")
	b.equal("exit code", b.execEnded(execID).ExitCode, 7)
}

// On a terminal the end of the input ends the stream, but not the command.
func execTerminalInputEnds(b *bench) {
	id := b.running(alone(), "exec", idle...)
	execID, s := b.exec(id, terminal(repeats))
	s.shows("ready\n")
	s.endInput()
	b.equal("after the end of the input", s.rest(), "")
	b.execRuns(execID)
}

// A command sees the new size of its terminal; a resize waits for the start, and
// does nothing to a command without a terminal.
func execResize(b *bench) {
	id := b.running(alone(), "exec", idle...)
	resize := func(execID string, height, width uint) error {
		return b.ContainerExecResize(b.Context(), execID, container.ResizeOptions{Height: height, Width: width})
	}
	created, err := b.ContainerExecCreate(b.Context(), id, terminal(measures))
	b.must("create the command", err)
	early := make(chan error, 1)
	go func() { early <- resize(created.ID, 50, 100) }()
	response, err := b.ContainerExecAttach(b.Context(), created.ID, container.ExecAttachOptions{Tty: true})
	s := b.opened("start the command", response, err)
	b.must("resize before the start", <-early)
	s.shows("ready\r\n")
	s.types("\n")
	s.shows("50 100\r\n")
	b.must("resize", resize(created.ID, 33, 133))
	s.types("\n")
	s.shows("33 133\r\n")

	execID, _ := b.exec(id, everything(idle))
	b.execRuns(execID)
	b.must("resize without a terminal", resize(execID, 33, 133))
}

// Since API 1.42 a terminal can have its size from the beginning.
func execConsoleSize(b *bench) {
	id := b.running(alone(), "exec", idle...)
	options := terminal(measures)
	options.ConsoleSize = &[2]uint{40, 120}
	_, s := b.exec(id, options)
	s.shows("ready\r\n")
	s.types("\n")
	if b.modern() {
		s.shows("40 120\r\n")
	}
}

// odd are detach keys that nobody types, and typed what they stand for.
const (
	odd   = "ctrl-@,ctrl-_,ctrl-@,ctrl-^"
	typed = "\x00\x1f\x00\x1e"
)

// The detach keys end the stream and leave the process alone, but the engine says
// on the terminal and by inspect that the command failed to start. What turns out
// to be other keys is passed on, and so is the engine's own choice of them if
// there are others. Without a terminal no keys detach.
func execDetach(b *bench) {
	left := func(execID string, s *stream) {
		b.Helper()
		if text := s.rest(); !strings.HasSuffix(text, "read escape sequence\r\n") {
			b.Errorf("the terminal shows %q after the keys", text)
		}
		b.equal("exit code", b.execEnded(execID).ExitCode, 126)
	}
	id := b.running(alone(), "exec", idle...)
	options := terminal(repeats)
	execID, s := b.exec(id, options)
	s.shows("ready\n")
	s.types("a\x10b")
	s.shows("a\x10b")
	s.types("\x10\x11")
	left(execID, s)

	options.DetachKeys = odd
	execID, s = b.exec(id, options)
	s.shows("ready\n")
	s.types("\x10\x11")
	s.shows("\x10\x11")
	s.types("\x00\x1fx")
	s.shows("\x00\x1fx")
	s.types(typed[:2])
	s.types(typed[2:])
	left(execID, s)

	options = everything(echoes)
	options.DetachKeys = odd
	_, s = b.exec(id, options)
	s.types(typed + "\x10\x11\n")
	s.tells(typed + "\x10\x11\n")
}
