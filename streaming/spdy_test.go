// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// dial connects to the server of a URL.
func dial(t testing.TB, rawURL string) net.Conn {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// upgraded sends the request of a SPDY client and returns the connection after it.
func upgraded(t testing.TB, conn net.Conn, rawURL, protocol string) net.Conn {
	t.Helper()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: %s\r\n\r\n", pathOf(t, rawURL), protocol)
	buffered := bufio.NewReader(conn)
	response, err := http.ReadResponse(buffered, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(response.Body)
		t.Fatalf("the upgrade is answered by %s: %s", response.Status, body)
	}
	return &bufferedConn{conn, buffered}
}

func pathOf(t testing.TB, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Path
}

type bufferedConn struct {
	net.Conn
	in *bufio.Reader
}

func (c *bufferedConn) Read(b []byte) (int, error) { return c.in.Read(b) }

// Close has no error: spdystream would wait a second for somebody to ask for it.
func (c *bufferedConn) Close() error {
	_ = c.Conn.Close()
	return nil
}

// spdySession is a client of exec or attach as kubectl is one.
type spdySession struct {
	t       testing.TB
	tcp     net.Conn
	conn    httpstream.Connection
	streams map[string]httpstream.Stream
}

// openSPDY opens a session with streams of the given types.
func openSPDY(t testing.TB, rawURL string, types ...string) *spdySession {
	t.Helper()
	return openSPDYOn(t, dial(t, rawURL), rawURL, remotecommand.StreamProtocolV4Name, types...)
}

func openSPDYOn(t testing.TB, tcp net.Conn, rawURL, protocol string, types ...string) *spdySession {
	t.Helper()
	conn, err := spdy.NewClientConnection(upgraded(t, tcp, rawURL, protocol))
	if err != nil {
		t.Fatal(err)
	}
	s := &spdySession{t: t, tcp: tcp, conn: conn, streams: map[string]httpstream.Stream{}}
	t.Cleanup(s.close)
	for _, kind := range types {
		s.streams[kind] = s.stream(http.Header{remotecommand.StreamType: {kind}})
	}
	return s
}

func (s *spdySession) stream(header http.Header) httpstream.Stream {
	s.t.Helper()
	canonical := http.Header{}
	for name, values := range header {
		canonical.Set(name, values[0])
	}
	stream, err := s.conn.CreateStream(canonical)
	if err != nil {
		s.t.Fatalf("create stream %v: %v", header, err)
	}
	return stream
}

func (s *spdySession) close() {
	s.conn.Close()
	s.tcp.Close()
}

// typesOf are the streams that kubectl opens.
func typesOf(r joinRequest) []string {
	return streamTypes(r, remotecommand.StreamProtocolV4Name)
}

// readAll reads a stream to its end, within patience.
func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	done := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(r)
		done <- string(b)
	}()
	return wait(t, "the end of a stream", done)
}
