// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"github.com/dockershimd/dockershimd/translate"
)

// stdio are the standard streams of a process on our side; nil ones are not
// wanted.
type stdio struct {
	in       io.ReadCloser // Close ends a Read that waits
	out, err io.Writer
	sizes    <-chan remotecommand.TerminalSize
}

// stream is what goes between a process in the engine's hands and a client.
type stream struct {
	stdio
	tty       bool                   // the output is one stream, not two in frames
	endsStdin bool                   // the end of the client's input is the process's too
	size      translate.TerminalSize // the first one, if it is known
	resize    func(context.Context, container.ResizeOptions) error
}

// carry returns when the engine has ended the stream and all output has been
// written. It closes conn, and no goroutine of it is left.
func (t *stream) carry(ctx context.Context, conn types.HijackedResponse) error {
	var inputs sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	closed := context.AfterFunc(ctx, conn.Close)
	defer func() {
		cancel()
		if closed() {
			conn.Close()
		}
		if t.in != nil {
			t.in.Close()
		}
		inputs.Wait()
	}()
	if t.in != nil {
		inputs.Go(func() { t.carryInput(conn) })
	}
	if t.sizes != nil {
		inputs.Go(func() { t.carrySizes(ctx) })
	}
	if err := t.carryOutput(conn.Reader); err != nil {
		return fmt.Errorf("read the output: %w", err)
	}
	return nil
}

func (t *stream) carryInput(conn types.HijackedResponse) {
	// Whichever side fails, it shows on the output too.
	_, _ = io.Copy(conn.Conn, t.in)
	if t.endsStdin {
		_ = conn.CloseWrite()
	}
}

// carrySizes may fail when the process ends, and nothing is lost then.
func (t *stream) carrySizes(ctx context.Context) {
	size, ok := t.size, true
	for ok {
		if size != (translate.TerminalSize{}) {
			_ = t.resize(ctx, translate.ResizeBody(size))
		}
		size, ok = nextSize(ctx, t.sizes)
	}
}

// nextSize waits for a size that a client sends.
func nextSize(ctx context.Context, sizes <-chan remotecommand.TerminalSize) (size translate.TerminalSize, ok bool) {
	select {
	case next, ok := <-sizes:
		return translate.TerminalSize(next), ok
	case <-ctx.Done():
		return translate.TerminalSize{}, false
	}
}

func (t *stream) carryOutput(from io.Reader) error {
	var err error
	if t.tty {
		_, err = io.Copy(orDiscard(t.out), from)
	} else {
		_, err = stdcopy.StdCopy(orDiscard(t.out), orDiscard(t.err), from)
	}
	return err
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
