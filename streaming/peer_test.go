// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	spdyframe "github.com/moby/spdystream/spdy"
	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// stuck is a backend that uses none of its streams, and notes why it ends.
type stuck struct {
	begun chan struct{}
	cause chan error
}

func newStuck() (*stuck, *fake) {
	s := &stuck{make(chan struct{}, 1), make(chan error, 1)}
	run := func(ctx context.Context) error {
		s.begun <- struct{}{}
		<-ctx.Done()
		s.cause <- context.Cause(ctx)
		return ctx.Err()
	}
	return s, &fake{
		exec: func(ctx context.Context, _ *cri.ExecRequest, _ io.Reader, _, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
			return 0, run(ctx)
		},
		port: func(ctx context.Context, _ string, _ uint16, _ io.ReadWriteCloser) error { return run(ctx) },
	}
}

var execAll = &cri.ExecRequest{ContainerId: "c1", Stdin: true, Stdout: true, Stderr: true}

func TestClientVanishes(t *testing.T) {
	for _, unread := range []int{0, 1 << 10, 8 << 20} {
		t.Run(fmt.Sprintf("SPDY with %d bytes unread", unread), func(t *testing.T) {
			backend, f := newStuck()
			server := start(t, Config{}, f)
			s := openSPDY(t, must(server.ExecURL(execAll))(t), typesOf(execAll)...)
			wait(t, "exec", backend.begun)
			sent := flood(s.tcp, unread, func(b []byte) error { _, err := s.streams["stdin"].Write(b); return err })
			s.tcp.Close()
			if err := wait(t, "the end of exec", backend.cause); err != errGone {
				t.Errorf("the cause is %v", err)
			}
			wait(t, "the end of the flood", sent)
		})
		for _, protocol := range []string{"v4.channel.k8s.io", "v5.channel.k8s.io"} {
			t.Run(fmt.Sprintf("%s with %d bytes unread", protocol, unread), func(t *testing.T) {
				backend, f := newStuck()
				server := start(t, Config{}, f)
				tcp := dialWebSocket(t, must(server.ExecURL(execAll))(t), protocol)
				wait(t, "exec", backend.begun)
				sent := flood(tcp, unread, func(b []byte) error { _, err := tcp.Write(append([]byte{0}, b...)); return err })
				tunnelled{tcp}.vanish()
				if err := wait(t, "the end of exec", backend.cause); err != errGone {
					t.Errorf("the cause is %v", err)
				}
				wait(t, "the end of the flood", sent)
			})
		}
		t.Run(fmt.Sprintf("tunnel with %d bytes unread", unread), func(t *testing.T) {
			backend, f := newStuck()
			server := start(t, Config{}, f)
			s := forwardTunnel(t, server)
			data, _ := s.connect(1, "80")
			wait(t, "port-forward", backend.begun)
			sent := flood(s.tcp, unread, func(b []byte) error { _, err := data.Write(b); return err })
			s.tcp.(tunnelled).vanish()
			if err := wait(t, "the end of port-forward", backend.cause); err != errGone {
				t.Errorf("the cause is %v", err)
			}
			wait(t, "the end of the flood", sent)
		})
	}
}

// flood writes as many bytes, or until no more are taken. It returns when
// nothing moves any more; the channel tells of the end of its goroutine.
func flood(conn net.Conn, size int, write func([]byte) error) <-chan struct{} {
	ended := make(chan struct{})
	moved := make(chan struct{}, 1)
	go func() {
		defer close(ended)
		for ; size > 0; size -= 1 << 10 {
			if write(make([]byte, 1<<10)) != nil {
				return
			}
			select {
			case moved <- struct{}{}:
			default:
			}
		}
	}()
	for {
		select {
		case <-moved:
			continue
		case <-ended:
		case <-time.After(100 * time.Millisecond):
		}
		return ended
	}
}

// TestClientDoesNotRead has output that stays in the kernel's buffers.
func TestClientDoesNotRead(t *testing.T) {
	for _, protocol := range []string{"SPDY", "v4.channel.k8s.io", "v5.channel.k8s.io", "tunnel"} {
		t.Run(protocol, func(t *testing.T) {
			failed := make(chan error, 1)
			server := start(t, Config{IdleTimeout: 300 * time.Millisecond}, &fake{
				exec: func(_ context.Context, _ *cri.ExecRequest, _ io.Reader, stdout, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
					_, err := io.Copy(stdout, endless{})
					failed <- err
					return 0, err
				},
				port: func(_ context.Context, _ string, _ uint16, stream io.ReadWriteCloser) error {
					_, err := io.Copy(stream, endless{})
					failed <- err
					return err
				},
			})
			r := &cri.ExecRequest{ContainerId: "c1", Stdout: true}
			switch protocol {
			case "SPDY":
				openSPDY(t, must(server.ExecURL(r))(t), typesOf(r)...)
			case "tunnel": // the client's library reads until nobody takes what it has
				forwardTunnel(t, server).connect(1, "80")
			default:
				dialWebSocket(t, must(server.ExecURL(r))(t), protocol)
			}
			if err := wait(t, "the end of exec", failed); err == nil || !strings.Contains(err.Error(), "the client does not read") && !strings.Contains(err.Error(), "nothing has moved") && !strings.Contains(err.Error(), "timeout") {
				t.Errorf("writing fails with %v", err)
			}
			if !eventually(func() bool { return strings.Contains(server.log.String(), "streaming session ended") }) {
				t.Errorf("the session does not end:\n%s", stacks())
			}
		})
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestIdle(t *testing.T) {
	backend, f := newStuck()
	server := start(t, Config{IdleTimeout: 200 * time.Millisecond}, f)
	s := openSPDY(t, must(server.ExecURL(execAll))(t), typesOf(execAll)...)
	if err := wait(t, "the end of exec", backend.cause); err == nil || err.Error() != "nothing has moved for 200ms" {
		t.Errorf("the cause is %v", err)
	}
	if got := readAll(t, s.streams["error"]); !strings.Contains(got, "Internal error") {
		t.Errorf("status is %q", got)
	}
	wait(t, "exec", backend.begun)
	for _, protocol := range webSockets {
		if got := openChannels(t, must(server.ExecURL(execAll))(t), protocol).receive()[3]; !strings.Contains(got, "Internal error") {
			t.Errorf("%s: status is %q", protocol, got)
		}
		wait(t, "exec", backend.begun)
		wait(t, "the end of exec", backend.cause)
	}
	tunnel := forwardTunnel(t, server)
	tunnel.connect(1, "80")
	wait(t, "the end of the connection", tunnel.conn.CloseChan())
}

// TestProbe says nothing before the response to the upgrade.
func TestProbe(t *testing.T) {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer listener.Close()
	client := must(net.Dial("tcp", listener.Addr().String()))(t)
	defer client.Close()
	v := &session{server: &Server{config: Config{}.withDefaults()}, ctx: t.Context()}
	p := must(newPeer(v, must(listener.Accept())(t), nil))(t)
	defer p.cut()
	p.probe(&unix.TCPInfo{})
	fmt.Fprint(p, "HTTP/1.1 101")
	p.probe(&unix.TCPInfo{})
	got := make([]byte, 14)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "HTTP/1.1 101\x8a\x00" {
		t.Errorf("read %q, %v", got, err)
	}
}

// TestStreamsMissing has clients that stop, or go, before all their streams are open.
func TestStreamsMissing(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		for n := range len(typesOf(execAll)) {
			t.Run(fmt.Sprintf("%d streams, leaves %v", n, leaves), func(t *testing.T) {
				creation := 100 * time.Millisecond
				if leaves {
					creation = time.Minute
				}
				server := start(t, Config{CreationTimeout: creation}, &fake{})
				s := openSPDY(t, must(server.ExecURL(execAll))(t), typesOf(execAll)[:n]...)
				if n > 1 { // nobody reads this yet, and never will
					fmt.Fprint(s.streams["stdin"], "early")
				}
				if leaves {
					s.tcp.Close()
				} else {
					wait(t, "the end of the connection", s.conn.CloseChan())
				}
				if !eventually(func() bool { return strings.Contains(server.log.String(), "streaming session ended") }) {
					t.Errorf("the session does not end:\n%s", stacks())
				}
			})
		}
	}
}

// TestBursts sends all at once what clients send one by one, and vanishes. The
// libraries have goroutines that would wait for ever.
func TestBursts(t *testing.T) {
	open := func(id uint32, kind, request string) spdyframe.Frame {
		header := http.Header{}
		header.Set(remotecommand.StreamType, kind)
		header.Set(portforward.PortHeader, "80")
		header.Set(portforward.PortForwardRequestIDHeader, request)
		return &spdyframe.SynStreamFrame{StreamId: spdyframe.StreamId(id), Headers: header}
	}
	send := func(id uint32) spdyframe.Frame {
		return &spdyframe.DataFrame{StreamId: spdyframe.StreamId(id), Data: []byte("data")}
	}
	var many []spdyframe.Frame
	for i := range uint32(200) {
		many = append(many, open(4*i+1, "error", fmt.Sprint(i)), open(4*i+3, "data", fmt.Sprint(i)), send(4*i+3))
	}
	for _, test := range []struct {
		name, door string
		frames     []spdyframe.Frame
	}{
		{"all streams", "exec", []spdyframe.Frame{open(1, "error", ""), open(3, "stdin", ""), open(5, "stdout", ""), open(7, "stderr", ""), send(3), send(3)}},
		{"a stream too many", "exec", []spdyframe.Frame{open(1, "error", ""), open(3, "stdin", ""), open(5, "stdout", ""), open(7, "stderr", ""), open(9, "stdin", ""), open(11, "resize", "")}},
		{"a stream twice", "exec", []spdyframe.Frame{open(1, "error", ""), open(3, "error", ""), open(5, "error", ""), open(7, "error", "")}},
		{"an unknown stream", "exec", []spdyframe.Frame{open(1, "other", "")}},
		{"data where nobody reads", "exec", []spdyframe.Frame{open(1, "error", ""), send(1), open(3, "stdin", ""), open(5, "stdout", ""), send(5), open(7, "stderr", ""), send(7)}},
		{"even streams", "exec", []spdyframe.Frame{open(2, "error", "")}},
		{"the last stream there is", "exec", []spdyframe.Frame{open(1<<31-1, "error", "")}},
		{"frames that clients do not send", "exec", []spdyframe.Frame{
			open(1, "error", ""), &spdyframe.HeadersFrame{StreamId: 1, Headers: http.Header{"A": {"b"}}}, &spdyframe.SynReplyFrame{StreamId: 1, Headers: http.Header{}},
			&spdyframe.RstStreamFrame{StreamId: 1, Status: spdyframe.Cancel}, &spdyframe.PingFrame{Id: 2}, &spdyframe.PingFrame{Id: 1}, &spdyframe.GoAwayFrame{},
		}},
		{"many connections", "portforward", many},
		{"half a connection", "portforward", []spdyframe.Frame{open(1, "data", "1"), send(1)}},
		{"data for errors", "portforward", []spdyframe.Frame{open(1, "error", "1"), send(1), open(3, "data", "1"), send(3)}},
		{"a connection twice", "portforward", []spdyframe.Frame{open(1, "error", "1"), open(3, "data", "1"), open(5, "data", "1"), send(5), open(7, "error", "1"), send(3)}},
		{"a goodbye", "portforward", []spdyframe.Frame{open(1, "error", "1"), open(3, "data", "1"), &spdyframe.GoAwayFrame{}}},
	} {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reset %v", test.name, reset), func(t *testing.T) {
				server := start(t, Config{CreationTimeout: 200 * time.Millisecond}, &fake{
					exec: func(ctx context.Context, _ *cri.ExecRequest, stdin io.Reader, _, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
						_, err := io.Copy(io.Discard, stdin)
						return 0, err
					},
					port: upper,
				})
				for i := range 10 { // these are races
					var tcp, conn net.Conn
					switch {
					case test.door == "exec":
						rawURL := must(server.ExecURL(execAll))(t)
						tcp = dial(t, rawURL)
						conn = upgraded(t, tcp, rawURL, remotecommand.StreamProtocolV4Name)
					case i%2 == 0:
						rawURL := must(server.PortForwardURL(&cri.PortForwardRequest{PodSandboxId: "s1"}))(t)
						tcp = dial(t, rawURL)
						conn = upgraded(t, tcp, rawURL, portforward.ProtocolV1Name)
					default:
						conn = dialWebSocket(t, must(server.PortForwardURL(&cri.PortForwardRequest{PodSandboxId: "s1"}))(t), tunnelOfSPDY)
						tcp = conn
					}
					var burst bytes.Buffer
					framer := must(spdyframe.NewFramer(&burst, nil))(t)
					for _, frame := range test.frames {
						if err := framer.WriteFrame(frame); err != nil {
							t.Fatal(err)
						}
					}
					_, _ = conn.Write(burst.Bytes())
					if tcp, is := tcp.(*net.TCPConn); is && reset {
						_ = tcp.SetLinger(0)
					}
					tcp.Close()
				}
			})
		}
	}
}
