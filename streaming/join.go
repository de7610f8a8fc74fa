// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"sync/atomic"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// chunk bounds what one frame of a protocol holds, and with it the memory of a
// session: each frame is copied whole.
const chunk = 32 << 10

// joined are the streams of exec and attach as the backend sees them, nil where
// the request does not ask for one.
type joined struct {
	stdin          io.ReadCloser
	stdout, stderr io.Writer
	resize         <-chan remotecommand.TerminalSize
}

// join calls the backend with the streams that the client has opened. The
// request says which: WebSockets have all of them, as dummies.
func (v *session) join(r joinRequest, in io.Reader, out, errs io.Writer, resize <-chan remotecommand.TerminalSize, call func(joined) error) (err error) {
	defer func() {
		v.ended(err)
		v.sayGoodbye()
		err = v.tell(err)
	}()
	defer v.recovered(&err)
	if cause := context.Cause(v.ctx); cause != nil {
		return cause // frames may have made up the streams
	}
	v.take(nil)
	var s joined
	if r.GetStdin() {
		stdin := &input{session: v, from: in}
		s.stdin = stdin
		defer v.onEnd(stdin.stop)()
	}
	if r.GetStdout() {
		s.stdout = &output{v.ctx, out}
	}
	if r.GetStderr() {
		s.stderr = &output{v.ctx, errs}
	}
	// Sizes are taken without a terminal, too: a WebSocket's input is behind them.
	if sizes := v.newest(resize); r.GetTty() {
		s.resize = sizes
	}
	return call(s)
}

// tell is what the library is told of an error. It logs each as one of the
// daemon's, and would do so whenever somebody closes a terminal.
func (v *session) tell(err error) error {
	if context.Cause(v.ctx) == errGone {
		return nil
	}
	return err
}

// streamTypes are the types of the streams that the library waits for.
func streamTypes(r joinRequest, protocol string) (types []string) {
	sized := protocol != remotecommand.StreamProtocolV1Name && protocol != remotecommand.StreamProtocolV2Name
	for _, t := range []struct {
		name   string
		wanted bool
	}{
		{remotecommand.StreamTypeError, true},
		{remotecommand.StreamTypeStdin, r.GetStdin()},
		{remotecommand.StreamTypeStdout, r.GetStdout()},
		{remotecommand.StreamTypeStderr, r.GetStderr()},
		{remotecommand.StreamTypeResize, r.GetTty() && sized},
	} {
		if t.wanted {
			types = append(types, t.name)
		}
	}
	return types
}

// onEnd calls f when the session ends. What it returns calls that off, or waits.
func (v *session) onEnd(f func()) func() {
	done := make(chan struct{})
	stop := context.AfterFunc(v.ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// newest passes sizes on and lets a newer one take the place of one that nobody
// has taken yet.
func (v *session) newest(from <-chan remotecommand.TerminalSize) <-chan remotecommand.TerminalSize {
	to := make(chan remotecommand.TerminalSize)
	v.work.Go(func() {
		defer close(to)
		var size remotecommand.TerminalSize
		var offer chan<- remotecommand.TerminalSize
		for from != nil || offer != nil {
			select {
			case next, more := <-from:
				if !more {
					from = nil
					continue
				}
				size, offer = next, to
			case offer <- size:
				offer = nil
			case <-v.ctx.Done():
				return
			}
		}
	})
	return to
}

// input is what a client sends.
type input struct {
	session *session
	from    io.Reader
	closed  atomic.Bool // by the backend
}

// Read tells the end of the input, which the client meant, from its loss. The
// libraries return io.EOF for both.
func (i *input) Read(b []byte) (int, error) {
	n, err := i.from.Read(b)
	if err != io.EOF || i.closed.Load() {
		return n, err
	}
	if cause := context.Cause(i.session.ctx); cause != nil {
		return n, cause
	}
	if !i.session.halves {
		return n, errGone // a WebSocket of the libraries that reads no more is about to be closed
	}
	return n, io.EOF
}

// Close makes a Read that waits return, and those after it.
func (i *input) Close() error {
	i.closed.Store(true)
	i.stop()
	return nil
}

// stop ends reading and nothing else where it can. Close of a SPDY stream would
// end the half for writing.
func (i *input) stop() {
	switch from := i.from.(type) {
	case interface{ Reset() error }:
		_ = from.Reset()
	case io.Closer:
		_ = from.Close()
	}
}

// output is what a client is sent.
type output struct {
	ctx context.Context
	to  io.Writer
}

func (o *output) Write(b []byte) (written int, err error) {
	for {
		if cause := context.Cause(o.ctx); cause != nil {
			return written, cause
		}
		part := b[written:min(written+chunk, len(b))]
		n, err := o.to.Write(part)
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}
