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
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// FuzzHTTP sends a request and what follows it to a live server: any bytes with
// any path and headers, where TOKEN stands for a token that is valid. Nothing of
// that may stay behind, let alone end the daemon.
func FuzzHTTP(f *testing.F) {
	var streams bytes.Buffer
	framer := must(spdyframe.NewFramer(&streams, nil))(f)
	for i, kind := range []string{"error", "stdin", "stdout", "resize"} {
		header := http.Header{}
		header.Set(remotecommand.StreamType, kind)
		if err := framer.WriteFrame(&spdyframe.SynStreamFrame{StreamId: spdyframe.StreamId(2*i + 1), Headers: header}); err != nil {
			f.Fatal(err)
		}
	}
	for _, data := range []string{"some input", `{"Width":80,"Height":24}`} {
		for id := spdyframe.StreamId(3); id < 9; id += 2 {
			_ = framer.WriteFrame(&spdyframe.DataFrame{StreamId: id, Data: []byte(data)})
		}
	}
	_ = framer.WriteFrame(&spdyframe.DataFrame{StreamId: 3, Flags: spdyframe.DataFlagFin})
	var connection bytes.Buffer
	framer = must(spdyframe.NewFramer(&connection, nil))(f)
	for i, kind := range []string{"error", "data"} {
		header := http.Header{}
		header.Set("streamType", kind)
		header.Set("port", "80")
		_ = framer.WriteFrame(&spdyframe.SynStreamFrame{StreamId: spdyframe.StreamId(2*i + 1), Headers: header})
	}
	_ = framer.WriteFrame(&spdyframe.DataFrame{StreamId: 3, Data: []byte("data"), Flags: spdyframe.DataFlagFin})
	spdy := "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io,portforward.k8s.io\r\n"
	ws := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\nOrigin: http://x\r\n"
	newer := strings.Replace(ws, "v4.channel.k8s.io", v5+", "+tunnelOfSPDY, 1)
	for _, path := range []string{"/exec/TOKEN", "/attach/TOKEN", "/portforward/TOKEN"} {
		f.Add("GET", path, newer, []byte(frame(final|binaryData, "\x00hi")+frame(final|binaryData, "\xff\x00")))
		f.Add("GET", path, newer, []byte(frame(final|binaryData, "\x04{\"Width\":80,")+frame(final|binaryData, "\x04\"Height\":24}{")+frame(final|goodbye, "")))
		f.Add("GET", path, newer, []byte(frame(binaryData, "\x00h")+frame(final|ping, "x")+frame(final|continuation, "i")+frame(final|binaryData, "\xff")+frame(final|continuation, "\x09")))
		f.Add("GET", path, newer, []byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\xff\x00\x00"))
		f.Add("GET", path, newer, []byte("\x02\x05\x00hihi\x88\x80\x00\x00\x00\x00"))
		f.Add("GET", path, newer, []byte(frame(final|binaryData, streams.String())))
		f.Add("GET", path, newer, []byte(frame(binaryData, streams.String()[:50])+frame(final|continuation, streams.String()[50:])+frame(final|goodbye, "")))
		f.Add("POST", path, spdy, streams.Bytes())
		f.Add("POST", path, spdy, streams.Bytes()[:streams.Len()/3])
		f.Add("POST", path, spdy, []byte("\x80\x03\x00\x01\x01\x00\x00\x0a\x00\x00\x00\x01"))
		f.Add("POST", path, spdy, []byte("\x80\x03\x00\x04\x00\xff\xff\xff\xff\xff\xff\xff"))
		f.Add("POST", path, spdy, []byte("\x00\x00\x00\x01\x01\xff\xff\xffdata"))
		f.Add("POST", path, spdy, []byte("\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00"))
		f.Add("POST", path, spdy, []byte("\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01"))
		f.Add("GET", path, ws, []byte("\x82\x83\x00\x00\x00\x00\x00hi\x88\x80\x00\x00\x00\x00"))
		f.Add("GET", path, ws, []byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"))
		f.Add("GET", path, ws, []byte("\x89\x80\x00\x00\x00\x00\x82\x81\x00\x00\x00\x00\xff\x02\x01x"))
		f.Add("GET", path, ws, []byte("\x82\x8a\x00\x00\x00\x00\x04{\"Width\":"))
		f.Add("GET", path, "", []byte{})
		f.Add("POST", path, "Content-Length: 5\r\n"+spdy, []byte("hello"))
		f.Add("POST", path, "Transfer-Encoding: chunked\r\n", []byte("5\r\nhello\r\nzz\r\n"))
	}
	f.Add("GET", "/portforward/TOKEN", newer, []byte(frame(final|binaryData, connection.String())))
	f.Add("GET", "//exec/../exec/TOKEN", "", []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add("BREW", "/%zz\x00", "A\x00: b\r\n"+strings.Repeat("X: y\r\n", 99), []byte("\xff\xff"))
	f.Add("", "", "", []byte("\x16\x03\x01\x02\x00\x01\x00"))

	s := start(f, Config{CreationTimeout: 100 * time.Millisecond, IdleTimeout: 100 * time.Millisecond}, fuzzed())
	request(f, "GET", "http://"+s.Addr().String()) // all goroutines of the server's are there from now on
	f.Fuzz(func(t *testing.T, method, path, header string, body []byte) {
		noLeaks(t)
		r := &cri.ExecRequest{ContainerId: "c1", Stdin: true, Stdout: true, Tty: true}
		rawURL := must(s.ExecURL(r))(t)
		switch {
		case strings.Contains(path, "attach"):
			rawURL = must(s.AttachURL(&cri.AttachRequest{ContainerId: "c1", Stdin: true, Stdout: true, Tty: true}))(t)
		case strings.Contains(path, "portforward"):
			rawURL = must(s.PortForwardURL(&cri.PortForwardRequest{PodSandboxId: "s1", Port: []int32{80, 81}}))(t)
		}
		defer func() { // it may not have come to the token
			s.tokens.mu.Lock()
			defer s.tokens.mu.Unlock()
			clear(s.tokens.issued)
		}()
		conn := must(net.Dial("tcp", s.Addr().String()))(t)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		token := rawURL[strings.LastIndex(rawURL, "/")+1:]
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, strings.Replace(path, "TOKEN", token, 1), header)
		_, _ = conn.Write(body)
		// The answer is of no interest, as long as the server gets to give it.
		_ = conn.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("the server does not close: %v\n%s", err, stacks())
		}
		if strings.Contains(s.log.String(), "panic") {
			t.Errorf("a panic is in the log:\n%s", s.log)
		}
	})
}

// fuzzed reads and answers as long as the client lets it.
func fuzzed() *fake {
	carry := func(in io.Reader, out io.Writer) error {
		_, err := io.Copy(out, in)
		return err
	}
	return &fake{
		exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, stdout, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
			return 0, carry(stdin, stdout)
		},
		attach: func(_ context.Context, _ *cri.AttachRequest, stdin io.Reader, stdout, _ io.Writer, _ <-chan remotecommand.TerminalSize) error {
			return carry(stdin, stdout)
		},
		port: func(_ context.Context, _ string, _ uint16, stream io.ReadWriteCloser) error {
			return carry(stream, stream)
		},
	}
}
