// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

var execOutput = &cri.ExecRequest{ContainerId: "c1", Stdout: true}

// request sends one that is not to be upgraded.
func request(t testing.TB, method, rawURL string, header ...string) (status int, body string) {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), method, rawURL, nil))(t)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response := must(client.Do(r))(t)
	defer response.Body.Close()
	return response.StatusCode, string(must(io.ReadAll(response.Body))(t))
}

func TestTokensServeOnce(t *testing.T) {
	server := start(t, Config{}, &fake{exec: echo})
	rawURL := must(server.ExecURL(execOutput))(t)
	if want := fmt.Sprintf("http://%s/exec/", server.Addr()); !strings.HasPrefix(rawURL, want) {
		t.Errorf("the URL is %s, want %s", rawURL, want)
	}
	s := openSPDY(t, rawURL, typesOf(execOutput)...)
	if got := readAll(t, s.streams["error"]); got != exit3 {
		t.Errorf("status is %s", got)
	}
	if status, body := request(t, "GET", rawURL); status != 404 || !strings.Contains(body, "used before") {
		t.Errorf("the second time: %d %s", status, body)
	}
	wrong := strings.Replace(must(server.ExecURL(execOutput))(t), "/exec/", "/attach/", 1)
	if status, body := request(t, "POST", wrong); status != 404 || !strings.Contains(body, "is for exec") {
		t.Errorf("at the wrong door: %d %s", status, body)
	}
	torn := must(server.ExecURL(execOutput))(t)
	if status, body := request(t, "GET", torn[:len(torn)-3]); status != 404 || !strings.Contains(body, "not whole") {
		t.Errorf("torn: %d %s", status, body)
	}
	now := time.Now()
	server.tokens.now = func() time.Time { return now.Add(2 * tokenTime) }
	if status, body := request(t, "GET", torn); status != 404 || !strings.Contains(body, "expired") {
		t.Errorf("expired: %d %s", status, body)
	}
	if err := server.stop(); err != nil {
		t.Error(err)
	}
	for _, u := range []string{rawURL, wrong, torn} {
		if log := server.log.String(); strings.Contains(log, u[len(u)-26:]) {
			t.Errorf("a token is in the log:\n%s", log)
		}
	}
}

func TestRequestsThatAreNoUpgrade(t *testing.T) {
	server := start(t, Config{}, &fake{})
	exec := func() string { return must(server.ExecURL(execOutput))(t) }
	forward := func() string { return must(server.PortForwardURL(&cri.PortForwardRequest{PodSandboxId: "s1"}))(t) }
	const version = "X-Stream-Protocol-Version"
	for _, test := range []struct {
		method, url string
		header      []string
		want        int
	}{
		{"GET", exec(), nil, 400},
		{"POST", exec(), nil, 400},
		{"GET", forward(), nil, 400},
		{"POST", exec(), []string{version, "v4.channel.k8s.io"}, 400},
		{"POST", exec(), []string{version, "v4.channel.k8s.io", "Connection", "Upgrade", "Upgrade", "h2c"}, 400},
		{"POST", exec(), []string{version, "v9.channel.k8s.io", "Connection", "Upgrade", "Upgrade", "SPDY/3.1"}, 403},
		{"GET", exec(), []string{"Connection", "Upgrade", "Upgrade", "websocket"}, 400},
		{"GET", exec(), []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol", "v9"}, 403},
		{"GET", exec(), webSocketHeader("v5.channel.k8s.io", "", "13"), 400},
		{"GET", exec(), webSocketHeader("v5.channel.k8s.io", "AAAAAAAAAAAAAAAAAAAAAA==", "8"), 400},
		{"GET", exec(), webSocketHeader("v5.channel.k8s.io.example", "AAAAAAAAAAAAAAAAAAAAAA==", "13"), 403},
		{"POST", exec(), webSocketHeader("v5.channel.k8s.io", "AAAAAAAAAAAAAAAAAAAAAA==", "13"), 405},
		{"GET", forward(), webSocketHeader(tunnelOfSPDY, "", "13"), 400},
		{"POST", forward(), webSocketHeader(tunnelOfSPDY, "AAAAAAAAAAAAAAAAAAAAAA==", "13"), 405},
		{"GET", forward(), webSocketHeader("SPDY/3.1+other.k8s.io", "AAAAAAAAAAAAAAAAAAAAAA==", "13"), 400},
		{"PUT", exec(), nil, 405},
		{"DELETE", exec(), nil, 405},
		{"HEAD", exec(), nil, 405},
		{"GET", strings.Replace(exec(), "/exec/", "/cri/", 1), nil, 404},
		{"GET", exec() + "/more", nil, 404},
	} {
		if status, body := request(t, test.method, test.url, test.header...); status != test.want {
			t.Errorf("%s %v is answered by %d, want %d: %s", test.method, test.header, status, test.want, body)
		}
	}
	kept := exec()
	request(t, "HEAD", kept)
	if status, _ := request(t, "GET", kept); status != 400 {
		t.Errorf("HEAD has used up the token: %d", status)
	}
}

func webSocketHeader(protocol, key, version string) []string {
	return []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", version, "Sec-WebSocket-Key", key, "Sec-WebSocket-Protocol", protocol}
}

// TestDrain lets sessions end by themselves, and takes no new ones.
func TestDrain(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	server := start(t, Config{DrainTime: patience}, &fake{exec: func(ctx context.Context, _ *cri.ExecRequest, _ io.Reader, stdout, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
		begun <- struct{}{}
		<-finish
		_, err := fmt.Fprint(stdout, "finished")
		return 3, errors.Join(err, ctx.Err())
	}})
	s := openSPDY(t, must(server.ExecURL(execOutput))(t), typesOf(execOutput)...)
	wait(t, "exec", begun)
	c := openChannels(t, must(server.ExecURL(execOutput))(t), v5)
	wait(t, "exec", begun)
	ended := make(chan error)
	go func() { ended <- server.stop() }()
	if !eventually(func() bool {
		conn, err := net.Dial("tcp", server.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	}) {
		t.Error("new clients are not refused")
	}
	close(finish)
	if got := readAll(t, s.streams["stdout"]); got != "finished" {
		t.Errorf("stdout is %q", got)
	}
	if got := readAll(t, s.streams["error"]); got != exit3 {
		t.Errorf("status is %s", got)
	}
	s.close()
	if got := c.receive(); got[1] != "finished" || got[3] != exit3 {
		t.Errorf("channels are %v", got)
	}
	if err := wait(t, "the end of Run", ended); err != nil {
		t.Error(err)
	}
}

// TestCut has sessions in every state that do not end by themselves.
func TestCut(t *testing.T) {
	backend, f := newStuck()
	backend.cause = make(chan error, 6)
	server := start(t, Config{DrainTime: 50 * time.Millisecond}, f)
	dial(t, must(server.ExecURL(execAll))(t))                               // has not asked
	openSPDY(t, must(server.ExecURL(execAll))(t), typesOf(execAll)[:2]...)  // has not opened all streams
	forwardSPDY(t, server)                                                  // has no connection
	forwardTunnel(t, server)                                                // nor this one
	dialWebSocket(t, must(server.ExecURL(execAll))(t), "v4.channel.k8s.io") // runs
	wait(t, "exec", backend.begun)
	c := openChannels(t, must(server.ExecURL(execAll))(t), v5)
	wait(t, "exec", backend.begun)
	flood(c.ws, 8<<20, func(b []byte) error { return c.trySend(0, string(b)) })
	forwardTunnel(t, server).connect(1, "80")
	wait(t, "port-forward", backend.begun)
	s := openSPDY(t, must(server.ExecURL(execAll))(t), typesOf(execAll)...) // runs, too
	wait(t, "exec", backend.begun)
	flood(s.tcp, 8<<20, func(b []byte) error { _, err := s.streams["stdin"].Write(b); return err })
	forwardSPDY(t, server).connect(1, "80")
	wait(t, "port-forward", backend.begun)
	if err := server.stop(); err != nil {
		t.Error(err)
	}
	wait(t, "the end of a connection", s.conn.CloseChan())
}

func TestListenerFails(t *testing.T) {
	noLeaks(t)
	s := must(New(Config{}))(t)
	s.Close()
	if err := s.Run(context.Background(), &fake{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	if _, err := s.ExecURL(execOutput); err != nil {
		t.Error(err)
	}
}
