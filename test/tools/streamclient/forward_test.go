// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

func TestForward(t *testing.T) {
	s := newServer(t, nil)
	testForward(t, "spdy", func() string {
		r, err := s.GetPortForward(&cri.PortForwardRequest{PodSandboxId: "p"})
		s.must(err)
		return r.GetUrl()
	})
}

func TestForwardThroughTunnel(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(serveTunnel))
	defer s.Close()
	testForward(t, "websocket-tunnel", func() string { return s.URL })
}

// testForward speaks to two ports and then ends the program in turn by its
// input and by signals.
func testForward(t *testing.T, protocol string, url func() string) {
	for name, end := range map[string]func(*os.Process, io.Closer) error{
		"input":     func(_ *os.Process, in io.Closer) error { return in.Close() },
		"SIGTERM":   func(p *os.Process, _ io.Closer) error { return p.Signal(syscall.SIGTERM) },
		"interrupt": func(p *os.Process, _ io.Closer) error { return p.Signal(os.Interrupt) },
	} {
		t.Run(name, func(t *testing.T) {
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			c := program(t, "forward", "--protocol", protocol, "--url", url(), "0:80", "0:8080")
			in, err := c.StdinPipe()
			must(err)
			out, err := c.StdoutPipe()
			must(err)
			c.Stderr = t.Output()
			must(c.Start())
			output := bufio.NewReader(out)
			for _, port := range []int{80, 8080} {
				line, err := output.ReadString('\n')
				must(err)
				var local, remote int
				_, err = fmt.Sscanf(line, "forwarding %d -> %d\n", &local, &remote)
				must(err)
				if got, err := echo(local, "hello"); err != nil || got != fmt.Sprintf("port %d\nhello", port) {
					t.Errorf("port %d, wanted %d, says %q, %v", remote, port, got, err)
				}
			}
			must(end(c.Process, in))
			if rest, err := io.ReadAll(output); len(rest) > 0 || err != nil {
				t.Errorf("more output: %q, %v", rest, err)
			}
			must(c.Wait())
		})
	}
}

// echo sends text, ends its side, and returns all that comes back.
func echo(port int, text string) (string, error) {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// serveTunnel is a port forward server as the API server has one: SPDY within
// a websocket.
func serveTunnel(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{Subprotocols: []string{"SPDY/3.1+" + portforward.PortForwardProtocolV1Name}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	streams := make(chan httpstream.Stream)
	accept := func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	}
	s, err := spdy.NewServerConnection(portforward.NewTunnelingConnection("server", conn), accept)
	if err != nil {
		return
	}
	defer s.Close()
	for {
		select {
		case <-s.CloseChan():
			return
		case stream := <-streams:
			go serveStream(stream)
		}
	}
}

// serveStream does as fakeRuntime does; no error goes into the error stream.
func serveStream(stream httpstream.Stream) {
	defer stream.Close()
	if stream.Headers().Get(v1.StreamType) != v1.StreamTypeData {
		return
	}
	_, _ = io.Copy(stream, io.MultiReader(strings.NewReader("port "+stream.Headers().Get(v1.PortHeader)+"\n"), stream))
}
