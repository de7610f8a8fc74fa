// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// webSockets are the protocols of exec and attach in WebSockets, and tunnelOfSPDY
// that of port-forward which needs no ports in its URL.
var webSockets = []string{"v4.channel.k8s.io", "v4.base64.channel.k8s.io", "v5.channel.k8s.io"}

const tunnelOfSPDY = "SPDY/3.1+portforward.k8s.io"

// dialWebSocket opens a session by WebSocket.
func dialWebSocket(t testing.TB, rawURL string, protocols ...string) *websocket.Conn {
	t.Helper()
	return dialWebSocketTLS(t, nil, rawURL, protocols...)
}

func dialWebSocketTLS(t testing.TB, tlsConfig *tls.Config, rawURL string, protocols ...string) *websocket.Conn {
	t.Helper()
	config, err := websocket.NewConfig(strings.Replace(rawURL, "http", "ws", 1), "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol, config.TlsConfig = protocols, tlsConfig
	conn, err := config.DialContext(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	conn.PayloadType = websocket.BinaryFrame
	return conn
}

// openChannels opens a session of exec or attach.
func openChannels(t testing.TB, rawURL, protocol string) *channels {
	t.Helper()
	return &channels{t: t, ws: dialWebSocket(t, rawURL, protocol), base64: strings.Contains(protocol, "base64")}
}

// tunnelled is the connection within a WebSocket. Its Close has no error:
// spdystream would wait a second for somebody to ask for it.
type tunnelled struct{ *websocket.Conn }

func (c tunnelled) Close() error {
	_ = c.Conn.Close()
	return nil
}

// vanish closes the connection without a word.
func (c tunnelled) vanish() {
	_ = c.SetDeadline(past)
	_ = c.Conn.Close()
}

// channels is the protocol that is spoken in a WebSocket.
type channels struct {
	t      testing.TB
	ws     *websocket.Conn
	base64 bool
}

func (c *channels) send(channel int, text string) {
	c.t.Helper()
	if err := c.trySend(channel, text); err != nil {
		c.t.Error(err)
	}
}

func (c *channels) trySend(channel int, text string) error {
	if c.base64 {
		return websocket.Message.Send(c.ws, fmt.Sprint(channel)+base64.StdEncoding.EncodeToString([]byte(text)))
	}
	return websocket.Message.Send(c.ws, append([]byte{byte(channel)}, text...))
}

// receive reads to the end what comes on each channel.
func (c *channels) receive() map[int]string {
	c.t.Helper()
	got := map[int]string{}
	for {
		channel, text, err := c.next()
		if err != nil {
			if err != io.EOF {
				c.t.Error(err)
			}
			return got
		}
		got[channel] += text
	}
}

func (c *channels) next() (int, string, error) {
	var message []byte
	if err := websocket.Message.Receive(c.ws, &message); err != nil {
		return 0, "", err
	}
	channel, data := int(message[0]), message[1:]
	if c.base64 {
		channel -= '0'
		var err error
		if data, err = base64.StdEncoding.DecodeString(string(data)); err != nil {
			return 0, "", err
		}
	}
	return channel, string(data), nil
}

// TestOwnProtocols finds the newest protocol that a client offers.
func TestOwnProtocols(t *testing.T) {
	server := start(t, Config{}, &fake{exec: echo})
	for _, test := range []struct {
		door, offered, want string
	}{
		{doorExec, "v5.channel.k8s.io", "v5.channel.k8s.io"},
		{doorExec, "v5.channel.k8s.io v4.channel.k8s.io", "v5.channel.k8s.io"},
		{doorExec, "v4.channel.k8s.io v5.channel.k8s.io", "v5.channel.k8s.io"},
		{doorExec, "v6.channel.k8s.io v5.channel.k8s.io", "v5.channel.k8s.io"},
		{doorAttach, "v4.channel.k8s.io v5.channel.k8s.io", "v5.channel.k8s.io"},
		{doorExec, "v4.channel.k8s.io v3.channel.k8s.io", "v4.channel.k8s.io"},
		{doorExec, "v6.channel.k8s.io", ""},
		{doorExec, "v5.base64.channel.k8s.io", ""},
		{doorExec, tunnelOfSPDY, ""},
		{doorPortForward, tunnelOfSPDY, tunnelOfSPDY},
		{doorPortForward, "v4.channel.k8s.io " + tunnelOfSPDY, tunnelOfSPDY},
		{doorPortForward, "SPDY/3.1+channel.k8s.io", ""},
		{doorPortForward, "v5.channel.k8s.io", ""},
	} {
		rawURL := must(server.ExecURL(execOutput))(t)
		switch test.door {
		case doorAttach:
			rawURL = must(server.AttachURL(&cri.AttachRequest{ContainerId: "c1", Stdout: true}))(t)
		case doorPortForward:
			rawURL = must(server.PortForwardURL(&cri.PortForwardRequest{PodSandboxId: "s1", Port: []int32{80}}))(t)
		}
		config := must(websocket.NewConfig(strings.Replace(rawURL, "http", "ws", 1), "http://localhost"))(t)
		config.Protocol = strings.Fields(test.offered)
		conn, err := config.DialContext(t.Context())
		if test.want == "" {
			if err == nil {
				t.Errorf("%s: %q is accepted", test.door, test.offered)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %q is refused: %v", test.door, test.offered, err)
			continue
		}
		if got := conn.Config().Protocol[0]; got != test.want {
			t.Errorf("%s: of %q it is %s", test.door, test.offered, got)
		}
		conn.Close()
		if status, body := request(t, "GET", rawURL); status != 404 || !strings.Contains(body, "used before") {
			t.Errorf("%s, the second time: %d %s", test.door, status, body)
		}
	}
}

// TestTunnelMuchData sends 10 MiB each way at once, in messages of all sizes.
func TestTunnelMuchData(t *testing.T) {
	data := make([]byte, 10<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	server := start(t, Config{}, &fake{port: func(_ context.Context, _ string, _ uint16, stream io.ReadWriteCloser) error {
		_, err := io.Copy(stream, stream)
		return err
	}})
	stream, errs := forwardTunnel(t, server).connect(1, "80")
	sent := make(chan error, 1)
	go func() {
		_, err := stream.Write(data[:len(data)/2])
		for rest := data[len(data)/2:]; err == nil && len(rest) > 0; {
			part := rest[:min(1+len(rest)/3, len(rest))]
			_, err = stream.Write(part)
			rest = rest[len(part):]
		}
		sent <- errors.Join(err, stream.Close())
	}()
	if got := readAll(t, stream); got != string(data) {
		t.Errorf("%d bytes of %d, or others, have come back", len(got), len(data))
	}
	if got := readAll(t, errs); got != "" {
		t.Error(got)
	}
	if err := wait(t, "the end of what is sent", sent); err != nil {
		t.Error(err)
	}
}

// TestTunnelInPieces has each byte in a message of its own, then some that are
// no SPDY.
func TestTunnelInPieces(t *testing.T) {
	ended := make(chan error, 1)
	server := start(t, Config{}, &fake{port: func(_ context.Context, _ string, _ uint16, stream io.ReadWriteCloser) error {
		if _, err := io.CopyN(stream, stream, 4); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, stream)
		ended <- err
		return err
	}})
	for name, end := range map[string]func(*websocket.Conn){
		"goodbye": func(ws *websocket.Conn) { ws.Close() },
		"garbage": func(ws *websocket.Conn) { _, _ = ws.Write([]byte("\x80\x03\xff\xff\x00\x00\x00\x00")) },
		"goodbye without a reason": func(ws *websocket.Conn) {
			ws.PayloadType = websocket.CloseFrame
			_, _ = ws.Write(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ws := dialWebSocket(t, must(server.PortForwardURL(&cri.PortForwardRequest{PodSandboxId: "s1"}))(t), tunnelOfSPDY)
			s := forwardOn(t, ws, inPieces{tunnelled{ws}})
			data, _ := s.connect(1, "80")
			fmt.Fprint(data, "ping")
			if got := string(must(io.ReadAll(io.LimitReader(data, 4)))(t)); got != "ping" {
				t.Errorf("read %q", got)
			}
			end(ws)
			if err := wait(t, "the end of the connection", ended); err == nil || (err == errGone) != (name != "garbage") {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

type inPieces struct{ tunnelled }

func (c inPieces) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := c.tunnelled.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}
