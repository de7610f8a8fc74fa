// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
)

const (
	// requestTime is how long a request may take to arrive, and one that is not
	// upgraded to be answered. It ends at the upgrade.
	requestTime = 30 * time.Second
	// maxHeaderBytes is far more than what the kubelet and kubectl send.
	maxHeaderBytes = 32 << 10
	// maxPorts is how many ports a WebSocket of version 4 has channels for: two
	// each, and one byte to number them.
	maxPorts = 127
)

// The doors, which are the first part of a URL's path.
const (
	doorExec        = "exec"
	doorAttach      = "attach"
	doorPortForward = "portforward"
)

// Server gives out URLs, and serves the clients that come there.
type Server struct {
	config   Config
	listener net.Listener
	certs    *certificates // nil without TLS
	base     url.URL
	tokens   *tokens
	watch    time.Duration // between two looks at a connection
	linger   time.Duration // lingerTime

	mu       sync.Mutex
	stopping bool
	sessions map[*session]struct{}
	running  sync.WaitGroup // the sessions
}

// New listens, so that URLs are known, and does not serve yet: clients that come
// before Run wait.
func New(c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	certs, err := loadCertificates(c)
	if err != nil {
		return nil, err
	}
	host, port, err := c.hostPort()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("listen for exec, attach and port-forward, where port 0 would take any that is free: %w", err)
	}
	return &Server{
		config:   c.withDefaults(),
		listener: listener,
		certs:    certs,
		base:     baseURL(host, listener.Addr(), certs != nil),
		tokens:   newTokens(),
		watch:    time.Second,
		linger:   lingerTime,
		sessions: map[*session]struct{}{},
	}, nil
}

func baseURL(host string, addr net.Addr, secure bool) url.URL {
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	_, port, _ := net.SplitHostPort(addr.String()) // a listener's address always has one
	base := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
	if secure {
		base.Scheme = "https"
	}
	return base
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close frees the address of a server that is never run.
func (s *Server) Close() error { return s.listener.Close() }

// ExecURL returns a URL at which a client can run a command once, within a minute.
func (s *Server) ExecURL(r *cri.ExecRequest) (string, error) {
	if err := checkJoin(r); err != nil {
		return "", fmt.Errorf("exec in container %q: %w", r.GetContainerId(), err)
	}
	return s.url(doorExec, r)
}

// AttachURL returns a URL at which a client can attach once, within a minute.
func (s *Server) AttachURL(r *cri.AttachRequest) (string, error) {
	if err := checkJoin(r); err != nil {
		return "", fmt.Errorf("attach to container %q: %w", r.GetContainerId(), err)
	}
	return s.url(doorAttach, r)
}

// PortForwardURL returns a URL at which a client can open a session once, within
// a minute. The ports of the request are for WebSockets of version 4, which
// cannot name others; SPDY names the port with each connection.
func (s *Server) PortForwardURL(r *cri.PortForwardRequest) (string, error) {
	if err := checkPorts(r); err != nil {
		return "", fmt.Errorf("forward ports of sandbox %q: %w", r.GetPodSandboxId(), err)
	}
	return s.url(doorPortForward, r)
}

// checkJoin refuses what no protocol can carry.
func checkJoin(r joinRequest) error {
	switch {
	case r.GetContainerId() == "":
		return fmt.Errorf("no container: %w", errdefs.ErrInvalidArgument)
	case r.GetTty() && r.GetStderr():
		return fmt.Errorf("a terminal has one output, so stderr cannot be asked for: %w", errdefs.ErrInvalidArgument)
	case !r.GetStdin() && !r.GetStdout() && !r.GetStderr():
		return fmt.Errorf("none of stdin, stdout and stderr is asked for: %w", errdefs.ErrInvalidArgument)
	}
	return nil
}

func checkPorts(r *cri.PortForwardRequest) error {
	if r.GetPodSandboxId() == "" {
		return fmt.Errorf("no sandbox: %w", errdefs.ErrInvalidArgument)
	}
	if n := len(r.GetPort()); n > maxPorts {
		return fmt.Errorf("%d ports, and a session has room for %d: %w", n, maxPorts, errdefs.ErrInvalidArgument)
	}
	for _, port := range r.GetPort() {
		if port < 1 || port > 65535 {
			return fmt.Errorf("port %d is not within 1 to 65535: %w", port, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

func (s *Server) url(door string, request any) (string, error) {
	token, err := s.tokens.issue(door, request)
	if err != nil {
		return "", err
	}
	return s.base.JoinPath(door, token).String(), nil
}

// Run serves until ctx ends. Then it refuses new clients, lets sessions go on
// for the drain time, cuts off those that are left, and returns when no
// goroutine of a session is left. An error says that the listener failed.
func (s *Server) Run(ctx context.Context, backend Backend) error {
	server := s.httpServer(ctx, backend)
	served := make(chan error, 1)
	go func() {
		if s.certs != nil {
			served <- server.ServeTLS(s.listener, "", "")
		} else {
			served <- server.Serve(s.listener)
		}
	}()
	select {
	case err := <-served:
		s.drain(ctx, server)
		return fmt.Errorf("serve exec, attach and port-forward: %w", err)
	case <-ctx.Done():
		s.drain(ctx, server)
		<-served
		return nil
	}
}

func (s *Server) httpServer(ctx context.Context, backend Backend) *http.Server {
	server := &http.Server{
		Handler:           s.doors(backend),
		ReadHeaderTimeout: requestTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      requestTime,
		IdleTimeout:       requestTime,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         new(http.Protocols), // no HTTP/2, whose connections cannot be upgraded
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:          klog.NewStandardLogger("INFO"),
	}
	server.Protocols.SetHTTP1(true)
	server.ErrorLog.SetFlags(0)
	server.ErrorLog.SetOutput(logLines{klog.FromContext(ctx)})
	if s.certs != nil {
		server.TLSConfig = s.certs.config()
	}
	return server
}

// logLines carries the lines of net/http, which are about clients that do not
// speak HTTP or TLS.
type logLines struct{ klog.Logger }

func (l logLines) Write(line []byte) (int, error) {
	l.V(2).Info("streaming client", "problem", string(line))
	return len(line), nil
}

func (s *Server) doors(backend Backend) http.Handler {
	mux := http.NewServeMux()
	for _, door := range []string{doorExec, doorAttach, doorPortForward} {
		visit := func(w http.ResponseWriter, r *http.Request) { s.visit(backend, door, w, r) }
		mux.HandleFunc("GET /"+door+"/{token}", visit)
		mux.HandleFunc("POST /"+door+"/{token}", visit)
		// A pattern for GET takes HEAD as well, which would use up a token for nothing.
		mux.HandleFunc("HEAD /"+door+"/{token}", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", "GET, POST")
			w.WriteHeader(http.StatusMethodNotAllowed)
		})
	}
	return mux
}

// drain ends what Run has begun.
func (s *Server) drain(ctx context.Context, server *http.Server) {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.DrainTime)
	defer cancel()
	// It leaves out upgraded connections. Its error says that the time is over.
	_ = server.Shutdown(ctx)
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	s.mu.Lock()
	for v := range s.sessions {
		v.cut()
	}
	s.mu.Unlock()
	_ = server.Close() // the requests that have not become sessions
	<-ended
}
