// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
)

// websocketProtocol is what all servers of CRI streams offer. Some also offer
// v5, the only one by which kubectl begins.
const websocketProtocol = "v4.channel.k8s.io"

// stream joins the standard streams to those of a command or a container. The
// two verbs differ in the URL alone.
func stream(ctx context.Context, verb string, args []string, std streams) error {
	// Standard error belongs to the command, so no log by default.
	f, s := newFlags(verb, "spdy, websocket or websocket-v5", -1, std)
	subprotocol := f.String("subprotocol", "", "the only subprotocol to ask for; default: for spdy all that kubectl asks for, for websocket "+websocketProtocol+"; websocket-v5 has none but its own")
	stdin := f.Bool("stdin", false, "send standard input")
	stdout := f.Bool("stdout", false, "receive standard output")
	stderr := f.Bool("stderr", false, "receive standard error; has no effect on a terminal")
	tty := f.Bool("tty", false, "the command is on a terminal")
	sizes := &sizeQueue{}
	f.Func("size", "sizes of the terminal, `WIDTHxHEIGHT[,...]`; the first one is sent at once", sizes.parse)
	f.DurationVar(&sizes.every, "size-every", 200*time.Millisecond, "time between the sizes")
	delay := f.Duration("read-delay", 0, "time to wait before the first output is taken")
	hang := f.Bool("hang-stdout", false, "never take output, until killed")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("what is %q? The command is in the URL", f.Arg(0))
	case len(sizes.left) > 0 && !*tty:
		return errors.New("--size is for --tty only")
	}

	options := remotecommand.StreamOptions{Tty: *tty, TerminalSizeQueue: sizes}
	if *hang {
		*delay = math.MaxInt64
	}
	if *stdin {
		options.Stdin = std.in
	}
	if *stdout {
		options.Stdout = &slowWriter{Writer: std.out, delay: *delay}
	}
	if *stderr {
		options.Stderr = std.err
	}
	executor, err := s.executor(*subprotocol)
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, options)
}

// executor is client-go's for the protocol.
func (s *server) executor(subprotocol string) (remotecommand.Executor, error) {
	config, u, err := s.dial()
	if err != nil {
		return nil, err
	}
	switch {
	case s.protocol == "spdy" && subprotocol == "":
		return remotecommand.NewSPDYExecutor(config, http.MethodPost, u)
	case s.protocol == "spdy":
		transport, upgrader, err := spdy.RoundTripperFor(config)
		if err != nil {
			return nil, err
		}
		return remotecommand.NewSPDYExecutorForProtocols(transport, upgrader, http.MethodPost, u, subprotocol)
	case s.protocol == "websocket":
		if subprotocol == "" {
			subprotocol = websocketProtocol
		}
		return remotecommand.NewWebSocketExecutorForProtocols(config, http.MethodGet, u.String(), subprotocol)
	case s.protocol == "websocket-v5" && subprotocol == "":
		return remotecommand.NewWebSocketExecutor(config, http.MethodGet, u.String())
	}
	return nil, fmt.Errorf("no protocol %q: there are spdy, websocket and websocket-v5, which takes no --subprotocol", s.protocol)
}

// sizeQueue is a terminal that is resized now and then.
type sizeQueue struct {
	left  []remotecommand.TerminalSize
	every time.Duration
	sent  bool
}

// parse reads sizes such as 80x24,100x30.
func (q *sizeQueue) parse(text string) error {
	for _, size := range strings.Split(text, ",") {
		var s remotecommand.TerminalSize
		// What is printed again must be what was read: Sscanf stops early.
		if n, _ := fmt.Sscanf(size, "%dx%d", &s.Width, &s.Height); n != 2 || fmt.Sprintf("%dx%d", s.Width, s.Height) != size {
			return fmt.Errorf("%q is no WIDTHxHEIGHT", size)
		}
		q.left = append(q.left, s)
	}
	return nil
}

// Next waits for the next size; nil is for no more.
func (q *sizeQueue) Next() *remotecommand.TerminalSize {
	if len(q.left) == 0 {
		return nil
	}
	if q.sent {
		<-time.After(q.every)
	}
	size := q.left[0]
	q.left, q.sent = q.left[1:], true
	return &size
}

// slowWriter takes its time before the first Write, as a reader that does not
// keep up. A timer without end is one that Go does not take for a deadlock
// when all else has ended.
type slowWriter struct {
	io.Writer
	delay time.Duration
	once  sync.Once
}

func (w *slowWriter) Write(p []byte) (int, error) {
	w.once.Do(func() { <-time.After(w.delay) })
	return w.Writer.Write(p)
}
