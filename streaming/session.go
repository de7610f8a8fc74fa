// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream/wsstream"
	"k8s.io/utils/exec"
)

// Why a session's context ends.
var (
	errGone     = errors.New("the client is gone")
	errStopping = errors.New("the server is stopping")
	errOver     = errors.New("the session is over")
)

// creationGrace is how much longer than we the libraries wait for a client's
// streams: they leave theirs unreset, so they must not be first.
const creationGrace = time.Minute

// joinRequest is what exec and attach have in common: a client joins streams.
type joinRequest interface {
	GetContainerId() string
	GetStdin() bool
	GetStdout() bool
	GetStderr() bool
	GetTty() bool
}

// session is a client's visit, from its token to the last goroutine that serves it.
type session struct {
	server   *Server
	backend  Backend
	request  any    // of the token
	protocol string // that the libraries do not speak, see ownProtocol
	halves   bool   // streams have halves that end one by one: not in a WebSocket of the libraries

	ctx    context.Context
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // goroutines besides that of the handler

	mu       sync.Mutex
	peer     *peer   // nil before the upgrade
	frames   *frames // nil unless SPDY, which may be in a WebSocket
	forwards int     // connections of a port-forward now
	ports    int     // connections of a port-forward so far
	over     bool    // no more forwards
	exitCode int
	err      error // of the backend
	cause    error // of the end of ctx, if that came before the backend's
}

// visit serves a client that has come with a token.
func (s *Server) visit(backend Backend, door string, w http.ResponseWriter, r *http.Request) {
	request, err := s.tokens.take(door, r.PathValue("token"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	v := &session{server: s, backend: backend, request: request, protocol: ownProtocol(door, r)}
	v.halves = v.protocol != "" || !wsstream.IsWebSocketRequest(r)
	v.ctx, v.cancel = context.WithCancelCause(r.Context())
	if !s.admit(v) {
		http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
		return
	}
	defer s.dismiss(v)
	begin := time.Now()
	v.serve(w, r.WithContext(v.ctx))
	duration := time.Since(begin)
	v.finish()
	v.log(door, duration)
}

func (s *Server) admit(v *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.sessions[v] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) dismiss(v *session) {
	s.mu.Lock()
	delete(s.sessions, v)
	s.mu.Unlock()
	s.running.Done()
}

// serve lets the library for the request speak the protocol.
func (v *session) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			v.logPanic(p)
			v.ended(errPanic)
			if v.upgraded() == nil {
				http.Error(w, errPanic.Error(), http.StatusInternalServerError)
			}
		}
	}()
	w = &upgrade{ResponseWriter: w, session: v, spdy: !wsstream.IsWebSocketRequest(r)}
	if v.protocol != "" {
		v.serveWebSocket(w, r)
		return
	}
	wait := v.server.config.CreationTimeout + creationGrace
	// No idle timeouts for the libraries: peer has its own, and theirs would end
	// streams before the context.
	switch request := v.request.(type) {
	case *cri.ExecRequest:
		remotecommand.ServeExec(w, r, v, "", "", request.GetContainerId(), request.GetCmd(), joinOptions(request), 0, wait, remotecommand.SupportedStreamingProtocols)
	case *cri.AttachRequest:
		remotecommand.ServeAttach(w, r, v, "", "", request.GetContainerId(), joinOptions(request), 0, wait, remotecommand.SupportedStreamingProtocols)
	case *cri.PortForwardRequest:
		if !v.halves && len(request.GetPort()) == 0 {
			http.Error(w, "a WebSocket without SPDY in it forwards the ports that were asked for with its URL, and there was none", http.StatusBadRequest)
			return
		}
		v.servePorts(w, r, request)
	}
}

func (v *session) servePorts(w http.ResponseWriter, r *http.Request, request *cri.PortForwardRequest) {
	options, _ := portforward.BuildV4Options(request.GetPort()) // it has no error to return
	portforward.ServePortForward(w, r, v, request.GetPodSandboxId(), "", options, 0, v.server.config.CreationTimeout, portforward.SupportedProtocols)
	v.ended(nil)
}

func joinOptions(r joinRequest) *remotecommand.Options {
	return &remotecommand.Options{Stdin: r.GetStdin(), Stdout: r.GetStdout(), Stderr: r.GetStderr(), TTY: r.GetTty()}
}

// finish returns when nothing of the session is left. The library may have left
// the connection open: it does so when streams are missing.
func (v *session) finish() {
	v.end(errOver)
	v.mu.Lock()
	v.over = true
	v.mu.Unlock()
	if p := v.upgraded(); p != nil {
		p.Close()
	}
	v.work.Wait()
}

// upgraded is the peer of a session, nil before the upgrade.
func (v *session) upgraded() *peer {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.peer
}

// end ends the session's context. What is still to be said to the client, such
// as why, has a short time to be written. The first cause is the one that counts.
func (v *session) end(cause error) {
	v.cancel(cause)
	if p := v.upgraded(); p != nil {
		p.hangUp()
	}
}

// cut ends the session without another word.
func (v *session) cut() {
	v.cancel(errStopping)
	if p := v.upgraded(); p != nil {
		p.cut()
	}
}

// ExecInContainer is what ServeExec calls when the client's streams are there.
// The names are the library's way to say what the session knows.
func (v *session) ExecInContainer(_ context.Context, _, _, _ string, _ []string, in io.Reader, out, errs io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	r := v.request.(*cri.ExecRequest)
	var code int
	err := v.join(r, in, out, errs, resize, func(s joined) (err error) {
		code, err = v.backend.StreamExec(v.ctx, r, s.stdin, s.stdout, s.stderr, s.resize)
		return err
	})
	if err == nil && code != 0 {
		v.mu.Lock()
		v.exitCode = code
		v.mu.Unlock()
		// The library looks for this very type, without unwrapping.
		return exec.CodeExitError{Err: fmt.Errorf("exit code %d", code), Code: code}
	}
	return err
}

// AttachContainer is what ServeAttach calls when the client's streams are there.
func (v *session) AttachContainer(_ context.Context, _, _, _ string, in io.Reader, out, errs io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize) error {
	r := v.request.(*cri.AttachRequest)
	return v.join(r, in, out, errs, resize, func(s joined) error {
		return v.backend.StreamAttach(v.ctx, r, s.stdin, s.stdout, s.stderr, s.resize)
	})
}

// ended notes for the log how the backend has ended, and what ended the session
// before that.
func (v *session) ended(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
	v.cause = context.Cause(v.ctx)
}

var errPanic = fmt.Errorf("a bug of the server, which its log shows: %w", errdefs.ErrInternal)

// recovered turns a panic of the backend into an error: goroutines of the
// libraries would end the daemon with it.
func (v *session) recovered(err *error) {
	if p := recover(); p != nil {
		v.logPanic(p)
		*err = errPanic
	}
}

func (v *session) logPanic(p any) {
	klog.FromContext(v.ctx).Error(fmt.Errorf("%v", p), "panic in a streaming session", "stack", string(debug.Stack()))
}

func (v *session) log(door string, duration time.Duration) {
	values := []any{"kind", door, "duration", duration}
	switch r := v.request.(type) {
	case joinRequest:
		values = append(values, "container", r.GetContainerId())
	case *cri.PortForwardRequest:
		values = append(values, "sandbox", r.GetPodSandboxId(), "connections", v.ports)
	}
	_, runs := v.request.(*cri.ExecRequest)
	switch {
	case v.peer == nil:
		values = append(values, "reason", "the request is no upgrade that this server knows")
	case v.cause != nil:
		values = append(values, "reason", v.cause)
	case v.err != nil:
		values = append(values, "err", v.err)
	case runs:
		values = append(values, "exitCode", v.exitCode)
	}
	klog.FromContext(v.ctx).V(2).Info("streaming session ended", values...)
}
