// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sys/unix"
)

// line is the engine's end of a stream to a client.
type line struct {
	e       *Engine
	conn    *net.UnixConn
	session <-chan struct{}
	client  context.Context // the call's
	ctx     context.Context // the client's, and ended with the output
	cancel  context.CancelFunc
	// stdout and stderr write what the client asked to see.
	stdout, stderr io.Writer

	mu                    sync.Mutex
	outputOver, inputOver bool
}

// open is call for one that answers with a stream. A stream whose answer is lost
// is closed here, since its caller cannot.
func open(ctx context.Context, e *Engine, c Call, effect func() (types.HijackedResponse, error)) (types.HijackedResponse, error) {
	began := ctx.Err() == nil
	var made types.HijackedResponse
	answer, err := call(ctx, e, c, func() (types.HijackedResponse, error) {
		var err error
		made, err = effect()
		return made, err
	})
	if err != nil && made.Conn != nil {
		made.Close()
	}
	return answer, hijackError(ctx, began, err)
}

// hijackError is what the client makes of an error where it asks for a stream.
// That no engine answers is of no kind there. The end of the context closes the
// connection, and only that is told; unless the context was over before.
func hijackError(ctx context.Context, began bool, err error) error {
	switch {
	case client.IsErrConnectionFailed(err):
		return fmt.Errorf("cannot connect to the Docker daemon. Is 'docker daemon' running on this host?: %v", err)
	case began && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return &net.OpError{Op: "read", Net: "unix", Err: net.ErrClosed}
	default:
		return err
	}
}

// notUpgraded is what the client makes of an engine's refusal of a stream: the
// reason is lost, and the error is of no kind.
func notUpgraded(status int) error {
	return fmt.Errorf("unable to upgrade to tcp, received %d", status)
}

// hijack makes a stream. Its client's end is closed with the context, as a
// client of adapter.Dial does it. A raw stream does not keep the outputs apart.
func (e *Engine) hijack(ctx context.Context, raw, stdout, stderr bool) (types.HijackedResponse, *line) {
	near, far := socketPair()
	context.AfterFunc(ctx, func() { near.Close() })
	l := &line{e: e, conn: far, client: ctx, stdout: io.Discard, stderr: io.Discard}
	l.ctx, l.cancel = context.WithCancel(ctx)
	l.session, _ = e.faults.state()
	if stdout {
		l.stdout = l.output(raw, stdcopy.Stdout)
	}
	if stderr {
		l.stderr = l.output(raw, stdcopy.Stderr)
	}
	return types.NewHijackedResponse(near, mediaType(e.negotiated, raw)), l
}

func (l *line) output(raw bool, which stdcopy.StdType) io.Writer {
	if raw {
		return l
	}
	return stdcopy.NewStdWriter(l, which)
}

// mediaType is empty before API 1.42: the engine calls everything raw there, and
// the client knows better than to believe it.
func mediaType(version string, raw bool) string {
	switch {
	case versions.LessThan(version, "1.42"):
		return ""
	case raw:
		return types.MediaTypeRawStream
	default:
		return types.MediaTypeMultiplexedStream
	}
}

func socketPair() (near, far *net.UnixConn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic("fakeengine: " + err.Error())
	}
	return socket(fds[0]), socket(fds[1])
}

func socket(fd int) *net.UnixConn {
	f := os.NewFile(uintptr(fd), "stream")
	defer f.Close() // the connection has a copy
	conn, err := net.FileConn(f)
	if err != nil {
		panic("fakeengine: " + err.Error())
	}
	return conn.(*net.UnixConn)
}

// Write sends to the client; it waits while the engine hangs. It always
// succeeds: a process does not notice that one of its clients has left.
func (l *line) Write(p []byte) (int, error) {
	if l.e.faults.waitInStream(l.ctx, l.session) == nil {
		_, _ = l.conn.Write(p)
	}
	return len(p), nil
}

// refuse says why there is no process, and ends the stream. That is told on the
// stdout also to those who did not ask for it.
func (l *line) refuse(raw bool, why string) {
	_, _ = l.output(raw, stdcopy.Stdout).Write([]byte(why)) // never fails
	l.endOutput()
	l.endInput()
}

// listen gives take what the client sends, while the engine does not hang and
// take returns true. It is nil when take ended it, and io.EOF when the client
// left or closed its direction.
func (l *line) listen(take func([]byte) bool) error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := l.conn.Read(buffer)
		if l.e.faults.waitInStream(l.ctx, l.session) != nil {
			if closed(l.session) {
				return io.ErrUnexpectedEOF
			}
			return io.EOF
		}
		if n > 0 && !take(buffer[:n]) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// endOutput is the end of the stream for the client, which may still send. It
// does not reach the client while the engine hangs.
func (l *line) endOutput() {
	l.cancel()
	// A writer may be waiting for a client that does not read.
	_ = l.conn.SetWriteDeadline(time.Unix(1, 0))
	if _, resume := l.e.faults.state(); resume == nil {
		l.shut()
		return
	}
	go func() {
		_ = l.e.faults.waitInStream(l.client, l.session) // whichever way it ends
		l.shut()
	}()
}

func (l *line) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outputOver = true
	_ = l.conn.CloseWrite()
	l.closeIfOver()
}

// endInput throws away what the client sends, until it leaves or closes its
// direction. An engine that closed the connection instead would make the client
// fail in the middle of the output that it has not read yet.
func (l *line) endInput() {
	_, _ = io.Copy(io.Discard, l.conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inputOver = true
	l.closeIfOver()
}

func (l *line) closeIfOver() {
	if l.inputOver && l.outputOver {
		l.conn.Close()
	}
}

// cut ends the stream if the engine that served it has died.
func (l *line) cut() {
	if closed(l.session) {
		l.cancel()
		l.conn.Close()
	}
}
