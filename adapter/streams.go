// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"github.com/dockershimd/dockershimd/adapter/proctree"
	"github.com/dockershimd/dockershimd/translate"
)

// Streams hands out the URLs at which clients get what they have asked for, by
// calling back StreamExec, StreamAttach and StreamPort. *streaming.Server is the
// one that is shipped.
type Streams interface {
	ExecURL(r *cri.ExecRequest) (string, error)
	AttachURL(r *cri.AttachRequest) (string, error)
	PortForwardURL(r *cri.PortForwardRequest) (string, error)
}

// Exec returns the URL of a command, which is run when a client comes there. A
// URL serves once; each call returns another.
func (s *Server) Exec(_ context.Context, r *cri.ExecRequest) (*cri.ExecResponse, error) {
	if err := translate.CheckExec(r); err != nil {
		return nil, err
	}
	if _, err := s.runningContainer(r.GetContainerId()); err != nil {
		return nil, err
	}
	url, err := s.streams.ExecURL(r)
	return &cri.ExecResponse{Url: url}, err
}

// Attach returns the URL of a container's streams. A URL serves once; each call
// returns another.
func (s *Server) Attach(_ context.Context, r *cri.AttachRequest) (*cri.AttachResponse, error) {
	if err := translate.CheckAttach(r); err != nil {
		return nil, err
	}
	if _, err := s.runningContainer(r.GetContainerId()); err != nil {
		return nil, err
	}
	url, err := s.streams.AttachURL(r)
	return &cri.AttachResponse{Url: url}, err
}

// PortForward returns the URL of a pod's ports. A URL serves once; each call
// returns another.
func (s *Server) PortForward(_ context.Context, r *cri.PortForwardRequest) (*cri.PortForwardResponse, error) {
	if err := translate.CheckPortForward(r); err != nil {
		return nil, err
	}
	if _, err := s.runningSandbox(r.GetPodSandboxId()); err != nil {
		return nil, err
	}
	url, err := s.streams.PortForwardURL(r)
	return &cri.PortForwardResponse{Url: url}, err
}

// runningSandbox finds a sandbox that can be reached now.
func (s *Server) runningSandbox(id string) (*sandbox, error) {
	p, err := s.index.sandbox(id)
	if err != nil {
		return nil, err
	}
	if !p.ready() {
		return nil, fmt.Errorf("sandbox %s is not ready: %w", p.id(), errdefs.ErrFailedPrecondition)
	}
	return p, nil
}

// firstSizeTime is how long a command waits for the size of its terminal.
// Clients send it at once, but by another stream.
const firstSizeTime = 100 * time.Millisecond

// StreamExec runs the command of an Exec request for a client; nil streams are
// not wanted. When ctx ends the command is killed, with all that it started.
func (s *Server) StreamExec(ctx context.Context, r *cri.ExecRequest, stdin io.ReadCloser, stdout, stderr io.Writer, sizes <-chan remotecommand.TerminalSize) (exitCode int, err error) {
	c, err := s.runningContainer(r.GetContainerId())
	if err != nil {
		return 0, err
	}
	var size translate.TerminalSize
	if r.GetTty() {
		size = firstSize(ctx, sizes)
	}
	run, err := s.newCommand(ctx, c, translate.ExecBody(r, size))
	if err != nil {
		return 0, err
	}
	std := newSlowOutputs(stdio{in: stdin, out: stdout, err: stderr, sizes: sizes}, 0, func() bool { return run.ended(ctx) })
	exitCode, err = run.run(ctx, std.stdio, size)
	return exitCode, std.finish(err)
}

func firstSize(ctx context.Context, sizes <-chan remotecommand.TerminalSize) translate.TerminalSize {
	ctx, cancel := context.WithTimeout(ctx, firstSizeTime)
	defer cancel()
	size, _ := nextSize(ctx, sizes)
	return size
}

// attachPatience is how long a container that writes is held up by a client
// that reads nothing. The engine would let it wait for ever.
const attachPatience = 10 * time.Second

// StreamAttach joins a client to a container's streams until the container
// ends; nil streams are not wanted. The container goes on when ctx ends.
func (s *Server) StreamAttach(ctx context.Context, r *cri.AttachRequest, stdin io.ReadCloser, stdout, stderr io.Writer, sizes <-chan remotecommand.TerminalSize) error {
	c, err := s.runningContainer(r.GetContainerId())
	if err != nil {
		return err
	}
	client := ctx
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer func() {
		cancel()
		watch.Wait()
	}()
	conn, err := s.engine.ContainerAttach(ctx, c.id(), translate.AttachBody(r, c.inspect))
	if err != nil {
		return fmt.Errorf("attach to container %s: %w", c.id(), s.streamError(ctx, c.id(), err))
	}
	watch.Go(func() {
		// The engine lets who comes to a container that has just ended wait until it
		// starts again.
		if s.index.await(ctx, func() bool { return !s.lastRuns(c.id()) }) == nil {
			wait(ctx, endTime)
			cancel()
		}
	})
	std := newSlowOutputs(stdio{in: stdin, out: stdout, err: stderr, sizes: sizes}, attachPatience, func() bool { return s.containerEnded(c.id()) })
	out := stream{
		stdio:     std.stdio,
		tty:       c.inspect.Config.Tty,
		endsStdin: translate.AttachEndsStdin(c.inspect),
		resize: func(ctx context.Context, size container.ResizeOptions) error {
			return s.engine.ContainerResize(ctx, c.id(), size)
		},
	}
	err = std.finish(out.carry(ctx, conn))
	switch {
	case client.Err() != nil:
		err = client.Err()
	case ctx.Err() != nil:
		err = nil
	case err == nil:
		err = s.awaitContainerEnd(ctx, c.id())
	}
	if err != nil {
		return fmt.Errorf("attach to container %s: %w", c.id(), err)
	}
	return nil
}

// lastRuns tells whether a container ran when it was last heard of.
func (s *Server) lastRuns(id string) bool {
	last, ok := s.index.last(id)
	return ok && last.running()
}

// containerEnded looks at the container's process: the engine tells of an end
// only after it has given up on whoever reads its output.
func (s *Server) containerEnded(id string) bool {
	last, ok := s.index.last(id)
	if !ok || !last.running() {
		return true
	}
	_, err := proctree.Find(id, last.inspect.State.Pid)
	return errdefs.IsNotFound(err)
}

// endTime is how long the news of a container's end may come after the end of
// its streams.
const endTime = 3 * time.Second

// awaitContainerEnd tells the end of a container from that of the engine.
func (s *Server) awaitContainerEnd(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	if s.index.await(ctx, func() bool { return !s.lastRuns(id) }) != nil {
		return fmt.Errorf("the engine has ended the stream, and the container runs on: %w", errdefs.ErrUnavailable)
	}
	return nil
}

// slowOutputs are outputs whose reader may be slow.
type slowOutputs struct {
	stdio
	backlogs []*backlog
}

func newSlowOutputs(std stdio, patient time.Duration, ended func() bool) *slowOutputs {
	s := &slowOutputs{stdio: std}
	for _, to := range []*io.Writer{&s.out, &s.err} {
		if *to != nil {
			b := newBacklog(*to, patient, ended)
			s.backlogs = append(s.backlogs, b)
			*to = b
		}
	}
	return s
}

// finish returns when the client has everything. The error is that of the
// process, else that of the client.
func (s *slowOutputs) finish(err error) error {
	for _, b := range s.backlogs {
		if lost := b.finish(); err == nil {
			err = lost
		}
	}
	return err
}

// StreamPort carries one connection to a port of a pod, until both sides have
// ended it. Close of the client's side ends its writing half only, where the
// client's protocol knows halves. A port that refuses is an error; what happens
// to a connection later is not.
func (s *Server) StreamPort(ctx context.Context, sandboxID string, port uint16, client io.ReadWriteCloser) error {
	p, err := s.runningSandbox(sandboxID)
	if err != nil {
		return err
	}
	var conn net.Conn
	if translate.HostNetwork(p.inspect) {
		conn, err = s.network.DialNode(ctx, port)
	} else {
		conn, err = s.network.Dial(ctx, p.id(), port)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	carryPort(conn, client)
	return nil
}

// portChunk is how much of a pod's answer is sent on at a time. Chunks become
// frames of the client's protocol.
const portChunk = 64 << 10

// carryPort copies both ways.
func carryPort(pod net.Conn, client io.ReadWriteCloser) {
	var answer sync.WaitGroup
	answer.Go(func() {
		// Without the wrapper the connection would choose smaller chunks.
		_, _ = io.CopyBuffer(client, struct{ io.Reader }{pod}, make([]byte, portChunk))
		client.Close()
	})
	_, err := io.Copy(pod, client)
	if half, ok := pod.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()
	}
	if err != nil {
		// The pod takes no more. What the client still sends has to be read all the
		// same, or it would hold up the other connections of its session.
		_, _ = io.Copy(io.Discard, client)
	}
	answer.Wait()
}
