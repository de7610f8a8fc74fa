// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/net/websocket"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// forwardSPDY opens a port-forward session without connections.
func forwardSPDY(t testing.TB, server *running) *spdySession {
	t.Helper()
	rawURL := must(server.PortForwardURL(&cri.PortForwardRequest{PodSandboxId: "s1"}))(t)
	tcp := dial(t, rawURL)
	return forwardOn(t, tcp, upgraded(t, tcp, rawURL, portforward.ProtocolV1Name))
}

// forwardTunnel opens one in a WebSocket.
func forwardTunnel(t testing.TB, server *running) *spdySession {
	t.Helper()
	ws := tunnelled{dialWebSocket(t, must(server.PortForwardURL(&cri.PortForwardRequest{PodSandboxId: "s1"}))(t), tunnelOfSPDY)}
	return forwardOn(t, ws, ws)
}

func forwardOn(t testing.TB, tcp, upgraded net.Conn) *spdySession {
	t.Helper()
	s := &spdySession{t: t, tcp: tcp, conn: must(spdy.NewClientConnection(upgraded))(t)}
	t.Cleanup(s.close)
	return s
}

// forwards are the ways to a session that may name any ports.
var forwards = map[string]func(testing.TB, *running) *spdySession{"SPDY": forwardSPDY, "tunnel": forwardTunnel}

// connect opens a connection to a port as kubectl does.
func (s *spdySession) connect(id int, port string) (data, errs httpstream.Stream) {
	s.t.Helper()
	header := http.Header{portforward.StreamType: {portforward.StreamTypeError}, portforward.PortHeader: {port}, portforward.PortForwardRequestIDHeader: {fmt.Sprint(id)}}
	errs = s.stream(header)
	errs.Close()
	header[portforward.StreamType] = []string{portforward.StreamTypeData}
	return s.stream(header), errs
}

// upper answers in capitals, with the port in front.
func upper(_ context.Context, _ string, port uint16, stream io.ReadWriteCloser) error {
	text, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(stream, port, strings.ToUpper(string(text)))
	return err
}

func TestForwardManyConnections(t *testing.T) {
	server := start(t, Config{}, &fake{port: upper})
	for name, forward := range forwards {
		t.Run(name, func(t *testing.T) {
			s := forward(t, server)
			var clients sync.WaitGroup
			for id := range 100 {
				clients.Go(func() {
					data, errs := s.connect(id, fmt.Sprint(8000+id))
					for range 10 {
						fmt.Fprintf(data, "request %d ", id)
					}
					data.Close() // its half: the answer is still to come
					want := fmt.Sprint(8000+id, strings.Repeat(fmt.Sprintf("REQUEST %d ", id), 10))
					if got := readAll(t, data); got != want {
						t.Errorf("connection %d got %q, want %q", id, got, want)
					}
					if got := readAll(t, errs); got != "" {
						t.Errorf("connection %d got the error %q", id, got)
					}
				})
			}
			clients.Wait()
		})
	}
}

// TestForwardServerHalf lets the pod end its half first.
func TestForwardServerHalf(t *testing.T) {
	server := start(t, Config{}, &fake{port: func(_ context.Context, _ string, _ uint16, stream io.ReadWriteCloser) error {
		fmt.Fprint(stream, "banner")
		stream.Close()
		if text, err := io.ReadAll(stream); err != nil || string(text) != "late" {
			return fmt.Errorf("read %q, %v", text, err)
		}
		return nil
	}})
	for name, forward := range forwards {
		t.Run(name, func(t *testing.T) {
			data, errs := forward(t, server).connect(1, "80")
			if got := readAll(t, data); got != "banner" {
				t.Errorf("got %q", got)
			}
			fmt.Fprint(data, "late")
			data.Close()
			if got := readAll(t, errs); got != "" {
				t.Error(got)
			}
		})
	}
}

func TestForwardErrors(t *testing.T) {
	server := start(t, Config{}, &fake{port: func(ctx context.Context, id string, port uint16, stream io.ReadWriteCloser) error {
		switch port {
		case 81:
			return errors.New("connection refused")
		case 82:
			panic("on purpose")
		}
		return upper(ctx, id, port, stream)
	}})
	for name, forward := range forwards {
		t.Run(name, func(t *testing.T) {
			s := forward(t, server)
			for _, port := range []string{"0", "-1", "65536", "http"} {
				header := http.Header{}
				header.Set(portforward.StreamType, portforward.StreamTypeError)
				header.Set(portforward.PortHeader, port)
				if _, err := s.conn.CreateStream(header); err == nil {
					t.Errorf("port %s is accepted", port)
				}
			}
			for id, test := range []struct{ port, want string }{{"81", "connection refused"}, {"82", "a bug of the server"}} {
				data, errs := s.connect(id, test.port)
				if got := readAll(t, errs); !strings.Contains(got, test.want) {
					t.Errorf("error of port %s is %q", test.port, got)
				}
				if got := readAll(t, data); got != "" {
					t.Errorf("got %q", got)
				}
			}
			data, _ := s.connect(9, "83")
			data.Close()
			if got := readAll(t, data); got != "83" {
				t.Errorf("after errors of others the session answers %q", got)
			}
		})
	}
}

// TestForwardUnreadData has clients that go on sending to connections that are
// over. Others must not wait behind that data.
func TestForwardUnreadData(t *testing.T) {
	server := start(t, Config{}, &fake{port: func(ctx context.Context, id string, port uint16, stream io.ReadWriteCloser) error {
		if port == 1 {
			return nil
		}
		return upper(ctx, id, port, stream)
	}})
	for name, forward := range forwards {
		t.Run(name, func(t *testing.T) {
			s := forward(t, server)
			for id := range 10 { // more than there are queues
				data, _ := s.connect(id, "1")
				for range 100 {
					fmt.Fprint(data, "nobody reads this")
				}
			}
			data, _ := s.connect(99, "2")
			data.Close()
			if got := readAll(t, data); got != "2" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestForwardTooMany(t *testing.T) {
	v := &session{halves: true}
	v.ctx, v.cancel = context.WithCancelCause(t.Context())
	v.forwards = maxForwards
	if err := v.beginForward(); !errdefs.IsResourceExhausted(err) {
		t.Errorf("the connection after the last one: %v", err)
	}
	v.forwards, v.over = 0, true
	if err := v.beginForward(); err != errOver {
		t.Errorf("a connection after the end: %v", err)
	}
	v.cancel(errGone)
	if err := v.beginForward(); err != errGone {
		t.Errorf("a connection of a client that is gone: %v", err)
	}
}

func TestForwardByWebSocket(t *testing.T) {
	begun, lost := make(chan struct{}), make(chan error, 1)
	server := start(t, Config{}, &fake{port: func(ctx context.Context, id string, port uint16, stream io.ReadWriteCloser) error {
		if port == 3 {
			close(begun)
			_, err := io.ReadAll(stream)
			lost <- err
			return err
		}
		text := make([]byte, 4)
		if _, err := io.ReadFull(stream, text); err != nil {
			return err
		}
		fmt.Fprint(stream, port, strings.ToUpper(string(text)))
		stream.Close()
		if _, err := io.ReadAll(stream); err != nil {
			return fmt.Errorf("read after Close: %w", err)
		}
		if port == 2 {
			return errors.New("on purpose")
		}
		return nil
	}})
	r := &cri.PortForwardRequest{PodSandboxId: "s1", Port: []int32{1, 2}}
	c := &channels{t: t, ws: dialWebSocket(t, must(server.PortForwardURL(r))(t), "v4.channel.k8s.io")}
	c.send(0, "ping")
	c.send(2, "pong")
	got := c.receive()
	for channel, want := range map[int]string{
		0: portBytes(1) + "1PING", 1: portBytes(1),
		2: portBytes(2) + "2PONG", 3: portBytes(2) + "error forwarding port 2 to pod s1, uid : on purpose",
	} {
		if got[channel] != want {
			t.Errorf("channel %d is %q, want %q", channel, got[channel], want)
		}
	}

	r = &cri.PortForwardRequest{PodSandboxId: "s1", Port: []int32{3}}
	ws := dialWebSocket(t, must(server.PortForwardURL(r))(t), "v4.channel.k8s.io")
	wait(t, "a connection", begun)
	ws.Close()
	if err := wait(t, "the end of a connection", lost); err != errGone {
		t.Errorf("the end of a WebSocket is %v", err)
	}

	r = &cri.PortForwardRequest{PodSandboxId: "s1"}
	config := must(websocket.NewConfig(strings.Replace(must(server.PortForwardURL(r))(t), "http", "ws", 1), "http://localhost"))(t)
	if _, err := config.DialContext(t.Context()); err == nil {
		t.Error("a WebSocket without ports is accepted")
	}
}

func portBytes(port uint16) string {
	return string(binary.LittleEndian.AppendUint16(nil, port))
}
