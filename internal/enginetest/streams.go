// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/pkg/stdcopy"
)

// Commands of the busybox image that speak with whoever is attached.
var (
	// speaks writes to both outputs.
	speaks = script("echo out; echo err >&2; exit 7")
	// counts writes more than any buffer on the way holds.
	counts = []string{"/bin/busybox", "seq", "1", "50000"}
	// echoes writes what it reads, and tells of the end of that.
	echoes = script("/bin/busybox cat; echo end")
	// measures writes the size of its terminal for each line that it reads.
	measures = script("/bin/busybox stty -echo; echo ready; while read line; do /bin/busybox stty size; done")
	// repeats writes each key that is typed on its terminal.
	repeats = script("/bin/busybox stty raw -echo; echo ready; exec /bin/busybox cat")
	// lasts speaks, and runs until it is killed.
	lasts = script("echo ready; exec /bin/busybox sleep 1000")
	// dies is killed by itself.
	dies = script("kill -9 $$")
)

func script(text string) []string { return []string{"/bin/busybox", "sh", "-c", text} }

// stream is a client's end of a stream to a process.
type stream struct {
	b *bench
	types.HijackedResponse
}

func (b *bench) opened(what string, response types.HijackedResponse, err error) *stream {
	b.Helper()
	b.must(what, err)
	b.Cleanup(response.Close)
	s := &stream{b, response}
	b.must("limit", s.Conn.SetDeadline(time.Now().Add(patience)))
	return s
}

// outputs reads a stream to its end and takes it apart.
func (s *stream) outputs() (stdout, stderr string) {
	s.b.Helper()
	var out, err bytes.Buffer
	_, failed := stdcopy.StdCopy(&out, &err, s.Reader)
	s.b.must("read the outputs", failed)
	return out.String(), err.String()
}

// rest reads a terminal's stream to its end.
func (s *stream) rest() string {
	s.b.Helper()
	text, err := io.ReadAll(s.Reader)
	s.b.must("read the rest", err)
	return string(text)
}

// shows reads a terminal's stream up to the text, which has to come next.
func (s *stream) shows(want string) {
	s.b.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(s.Reader, got)
	if err != nil || string(got) != want {
		s.b.Fatalf("the terminal shows %q (%v), want %q", got[:n], err, want)
	}
}

// tells reads one message of a stream that is not a terminal's.
func (s *stream) tells(want string) {
	s.b.Helper()
	header := make([]byte, 8)
	_, err := io.ReadFull(s.Reader, header)
	s.b.must("read a header", err)
	s.b.equal("stream", stdcopy.StdType(header[0]), stdcopy.Stdout)
	s.b.equal("size", int(header[7]), len(want))
	s.shows(want)
}

func (s *stream) types(text string) {
	s.b.Helper()
	_, err := io.Copy(s.Conn, strings.NewReader(text))
	s.b.must("type", err)
}

// endInput closes the client's direction.
func (s *stream) endInput() {
	s.b.Helper()
	s.b.must("close the input", s.CloseWrite())
}

// modern tells whether the API is of 1.42 at least.
func (b *bench) modern() bool { return versions.GreaterThanOrEqualTo(b.ClientVersion(), "1.42") }

// mediaType checks what the stream is said to be: nothing before API 1.42.
func (s *stream) mediaType(want string) {
	s.b.Helper()
	got, known := s.MediaType()
	if !s.b.modern() {
		want = ""
	}
	s.b.equal("media type", got, want)
	s.b.equal("media type is known", known, s.b.modern())
}

// endsWith checks that cancel breaks off a read.
func (s *stream) endsWith(cancel context.CancelFunc) {
	s.b.Helper()
	broken := make(chan error, 1)
	go func() { _, err := io.ReadAll(s.Reader); broken <- err }()
	cancel()
	select {
	case err := <-broken:
		if err == nil {
			s.b.Error("the stream ended as if the command had")
		}
	case <-time.After(patience / 2):
		s.b.Error("the stream outlived its context")
	}
}

// everything is what commands are usually asked for.
func everything(command []string) container.ExecOptions {
	return container.ExecOptions{Cmd: command, AttachStdin: true, AttachStdout: true, AttachStderr: true}
}

// terminal is everything on a terminal.
func terminal(command []string) container.ExecOptions {
	options := everything(command)
	options.Tty = true
	return options
}

// exec starts a command in the container.
func (b *bench) exec(id string, options container.ExecOptions) (string, *stream) {
	b.Helper()
	created, err := b.ContainerExecCreate(b.Context(), id, options)
	b.must("create the command", err)
	response, err := b.ContainerExecAttach(b.Context(), created.ID, container.ExecAttachOptions{Tty: options.Tty})
	return created.ID, b.opened("start the command", response, err)
}

func (b *bench) inspectExec(execID string) container.ExecInspect {
	b.Helper()
	state, err := b.ContainerExecInspect(b.Context(), execID)
	b.must("inspect the command", err)
	return state
}

// execUntil inspects the command until it is as wanted.
func (b *bench) execUntil(what, execID string, wanted func(container.ExecInspect) bool) container.ExecInspect {
	b.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for {
		state := b.inspectExec(execID)
		if wanted(state) {
			return state
		}
		select {
		case <-again.C:
		case <-late:
			b.Fatalf("the command is not %s: %+v", what, state)
		}
	}
}

// execEnded waits for the engine to know that the command has ended.
func (b *bench) execEnded(execID string) container.ExecInspect {
	b.Helper()
	return b.execUntil("over", execID, func(c container.ExecInspect) bool { return !c.Running })
}

// execRuns waits for the engine to know the command's process.
func (b *bench) execRuns(execID string) container.ExecInspect {
	b.Helper()
	return b.execUntil("at work", execID, func(c container.ExecInspect) bool { return c.Running && c.Pid > 0 })
}
