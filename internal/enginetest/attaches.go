// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"context"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
)

// attachment is how clients usually attach.
var attachment = container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true}

func (b *bench) attach(id string, options container.AttachOptions) *stream {
	b.Helper()
	response, err := b.ContainerAttach(b.Context(), id, options)
	return b.opened("attach", response, err)
}

// reading is the config of a container that reads its input.
func (b *bench) reading(command []string) *container.Config {
	config := b.config(command...)
	config.OpenStdin = true
	return config
}

// Whoever attaches before the start misses nothing. The stream ends with the
// container.
func attachOutput(b *bench) {
	id := b.create(b.config(speaks...), alone(), b.name("attach"))
	s := b.attach(id, attachment)
	one := b.attach(id, container.AttachOptions{Stream: true, Stderr: true})
	s.mediaType(types.MediaTypeMultiplexedStream)
	since := timestamp()
	b.start(id)
	stdout, stderr := s.outputs()
	b.equal("stdout", stdout, "out\n")
	b.equal("stderr", stderr, "err\n")
	stdout, stderr = one.outputs()
	b.equal("stdout that was not asked for", stdout, "")
	b.equal("stderr alone", stderr, "err\n")
	b.equal("exit code", b.exitCode(id, since), 7)
}

// With StdinOnce, the end of a client's input is that of the process's.
func attachStdin(b *bench) {
	config := b.reading(echoes)
	config.StdinOnce = true
	id := b.create(config, alone(), b.name("attach"))
	since := timestamp()
	b.start(id)
	s := b.attach(id, attachment)
	s.types("one\n")
	s.tells("one\n")
	s.endInput()
	stdout, _ := s.outputs()
	b.equal("after the end of the input", stdout, "end\n")
	b.equal("exit code", b.exitCode(id, since), 0)
}

// Without StdinOnce, the end of a client's input is that of its stream, and the
// process reads what the next client writes. Without OpenStdin there is nothing
// to read, and a client's input is of no concern.
func attachStdinStays(b *bench) {
	id := b.create(b.reading(echoes), alone(), b.name("attach"))
	b.start(id)
	for _, text := range []string{"one\n", "two\n"} {
		s := b.attach(id, attachment)
		s.types(text)
		s.tells(text)
		s.endInput()
		stdout, _ := s.outputs()
		b.equal("after the end of the input", stdout, "")
	}
	b.equal("running", b.inspect(id).State.Running, true)

	id = b.create(b.config(echoes...), alone(), b.name("closed"))
	s := b.attach(id, attachment)
	b.start(id)
	stdout, _ := s.outputs()
	b.equal("without input", stdout, "end\n")
}

// Several clients see the same output, and each of them can write and leave.
func attachTwo(b *bench) {
	id := b.create(b.reading(echoes), alone(), b.name("attach"))
	b.start(id)
	first, second := b.attach(id, attachment), b.attach(id, attachment)
	first.types("one\n")
	first.tells("one\n")
	second.tells("one\n")
	second.types("two\n")
	first.tells("two\n")
	second.tells("two\n")
	first.Close()
	second.types("three\n")
	second.tells("three\n")
	b.stop(id)
	stdout, _ := second.outputs()
	b.equal("output after the stop", stdout, "")
}

// A container with a terminal has one raw output and can be resized while it
// runs.
func attachTerminal(b *bench) {
	config := b.reading(measures)
	config.Tty = true
	id := b.create(config, alone(), b.name("attach"))
	resize := func() error {
		return b.ContainerResize(b.Context(), id, container.ResizeOptions{Height: 33, Width: 133})
	}
	b.wantKind("resize before the start", resize(), conflict)
	s := b.attach(id, attachment)
	s.mediaType(types.MediaTypeRawStream)
	b.start(id)
	s.shows("ready\r\n")
	b.must("resize", resize())
	s.types("\n")
	s.shows("33 133\r\n")
	s.endInput()
	b.equal("after the end of the input", s.rest(), "")
	b.equal("running", b.inspect(id).State.Running, true)
	b.stop(id)
	b.wantKind("resize after the end", resize(), conflict)

	id = b.running(alone(), "pipes", idle...)
	b.must("resize without a terminal", resize())
}

// The detach keys work as for commands.
func attachDetach(b *bench) {
	config := b.reading(repeats)
	config.Tty = true
	id := b.create(config, alone(), b.name("attach"))
	options := attachment
	options.DetachKeys = odd
	s := b.attach(id, options)
	b.start(id)
	s.shows("ready\n")
	s.types("\x10\x11")
	s.shows("\x10\x11")
	s.types(typed)
	b.equal("after the keys", s.rest(), "")

	s = b.attach(id, attachment)
	s.types("a")
	s.shows("a")
	s.types("\x10\x11")
	b.equal("after the default keys", s.rest(), "")
	b.equal("running", b.inspect(id).State.Running, true)
}

// Whoever attaches to a container that has ended waits for its next start: there
// is no end to read meanwhile.
func attachEnded(b *bench) {
	since := timestamp()
	id := b.running(alone(), "attach", speaks...)
	b.exitCode(id, since)
	s := b.attach(id, attachment)
	b.start(id)
	stdout, stderr := s.outputs()
	b.equal("stdout", stdout, "out\n")
	b.equal("stderr", stderr, "err\n")
}

// A refusal to attach is of no kind.
func attachRefused(b *bench) {
	_, err := b.ContainerAttach(b.Context(), strings.Repeat("0", 64), attachment)
	b.wantKind("attach to what is not there", err, other)
	id := b.running(alone(), "attach", idle...)
	options := attachment
	options.DetachKeys = "ctrl-?"
	_, err = b.ContainerAttach(b.Context(), id, options)
	b.wantKind("attach with bad keys", err, other)
}

// A stream ends with its context, and the container does not.
func attachContextEnds(b *bench) {
	id := b.create(b.reading(echoes), alone(), b.name("attach"))
	b.start(id)
	ctx, cancel := context.WithCancel(b.Context())
	response, err := b.ContainerAttach(ctx, id, attachment)
	s := b.opened("attach", response, err)
	s.types("one\n")
	s.tells("one\n")
	s.endsWith(cancel)

	s = b.attach(id, attachment)
	s.types("two\n")
	s.tells("two\n")
}
