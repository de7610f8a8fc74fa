// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

var protocols = []string{"spdy", "websocket"}

// all asks for all streams but a terminal.
func all(verb, protocol, url string, more ...string) []string {
	return append([]string{verb, "--protocol", protocol, "--url", url, "--stdin", "--stdout", "--stderr"}, more...)
}

func TestExec(t *testing.T) {
	s := newServer(t, nil)
	for _, protocol := range protocols {
		for cmd, want := range map[string]result{
			"greet":   {0, "hello world\n", "an error\n"},
			"exit":    {7, "", ""},
			"nothing": {failed, "", "streamclient: Internal error occurred: error executing command in container: no such command\n"},
		} {
			if got := runProgram(t, "world\n", all("exec", protocol, s.execURL(cmd))...); got != want {
				t.Errorf("%s over %s: %+v, want %+v", cmd, protocol, got, want)
			}
		}
		used := s.execURL("exit")
		runProgram(t, "", all("exec", protocol, used)...)
		if got := runProgram(t, "", all("exec", protocol, used)...); got.code != failed || !strings.HasPrefix(got.err, "streamclient: ") {
			t.Errorf("%s: a token twice: %+v", protocol, got)
		}
	}
}

// TestExecInputEnds: over SPDY, the end of the input reaches the command.
func TestExecInputEnds(t *testing.T) {
	s := newServer(t, nil)
	text := strings.Repeat("0123456789abcdef", 1<<16)
	c := program(t, all("exec", "spdy", s.execURL("cat"))...)
	c.Stdin = strings.NewReader(text)
	if got := finish(t, c); got.out != text || got.code != 0 {
		t.Errorf("%d of %d bytes, exit code %d, %q", len(got.out), len(text), got.code, got.err)
	}
}

// TestVersion5: there it does over WebSocket as well.
func TestVersion5(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(serveVersion5))
	defer s.Close()
	text := strings.Repeat("0123456789abcdef", 1<<16)
	c := program(t, all("exec", "websocket-v5", s.URL)...)
	c.Stdin = strings.NewReader(text)
	if got := finish(t, c); got != (result{7, text, "an error\n"}) {
		t.Errorf("%d of %d bytes, exit code %d, %q", len(got.out), len(text), got.code, got.err)
	}
}

// serveVersion5 repeats the input to its end, and exits with 7.
func serveVersion5(w http.ResponseWriter, r *http.Request) {
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{remotecommand.StreamProtocolV5Name: {Binary: true, Channels: []wsstream.ChannelType{
		remotecommand.StreamStdIn: wsstream.ReadChannel, remotecommand.StreamStdOut: wsstream.WriteChannel,
		remotecommand.StreamStdErr: wsstream.WriteChannel, remotecommand.StreamErr: wsstream.WriteChannel,
	}}})
	_, channels, err := conn.Open(w, r)
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.Copy(channels[remotecommand.StreamStdOut], channels[remotecommand.StreamStdIn])
	fmt.Fprint(channels[remotecommand.StreamStdErr], "an error\n")
	fmt.Fprint(channels[remotecommand.StreamErr], `{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}`)
}

func TestSubprotocol(t *testing.T) {
	s := newServer(t, nil)
	want := result{failed, "", "streamclient: error executing remote command: command terminated with non-zero exit code: exit\n"}
	// The old protocol has no exit codes.
	if got := runProgram(t, "", all("exec", "spdy", s.execURL("exit"), "--subprotocol", "v2.channel.k8s.io")...); got != want {
		t.Errorf("v2: %+v, want %+v", got, want)
	}
	for _, protocol := range protocols {
		if got := runProgram(t, "", all("exec", protocol, s.execURL("exit"), "--subprotocol", "v9.example")...); got.code != failed {
			t.Errorf("%s, v9: %+v", protocol, got)
		}
	}
}

func TestSizes(t *testing.T) {
	s := newServer(t, nil)
	for _, protocol := range protocols {
		r, err := s.GetExec(&cri.ExecRequest{ContainerId: "c", Cmd: []string{"sizes"}, Stdout: true, Tty: true})
		s.must(err)
		begin := time.Now()
		got := runProgram(t, "", "exec", "--protocol", protocol, "--url", r.GetUrl(), "--stdout", "--tty", "--size", "80x24,100x30,1x65535", "--size-every", "50ms")
		if got != (result{0, "true 80x24 100x30 1x65535", ""}) {
			t.Errorf("%s: %+v", protocol, got)
		}
		if took := time.Since(begin); took < 100*time.Millisecond {
			t.Errorf("%s: three sizes in %s", protocol, took)
		}
	}
}

func TestAttach(t *testing.T) {
	s := newServer(t, nil)
	for _, protocol := range protocols {
		r, err := s.GetAttach(&cri.AttachRequest{ContainerId: "c", Stdin: true, Stdout: true, Stderr: true})
		s.must(err)
		if got := runProgram(t, "there\n", all("attach", protocol, r.GetUrl())...); got != (result{0, "hello there\n", "an error\n"}) {
			t.Errorf("%s: %+v", protocol, got)
		}
	}
}

func TestSlowReader(t *testing.T) {
	s := newServer(t, nil)
	for _, protocol := range protocols {
		begin := time.Now()
		got := runProgram(t, "", all("exec", protocol, s.execURL("much"), "--read-delay", "300ms")...)
		if took := time.Since(begin); got.code != 0 || len(got.out) != 8<<20 || took < 300*time.Millisecond {
			t.Errorf("%s: exit code %d, %d bytes in %s, %q", protocol, got.code, len(got.out), took, got.err)
		}
	}
}

// TestHangingReader: the program outlives its server, which may have given up
// on it.
func TestHangingReader(t *testing.T) {
	for _, protocol := range protocols {
		s := newServer(t, nil)
		c := program(t, all("exec", protocol, s.execURL("much"), "--hang-stdout")...)
		_, err := c.StdinPipe() // stays open, see runProgram
		s.must(err)
		var out bytes.Buffer
		c.Stdout = &out
		s.must(c.Start())
		ended := make(chan struct{})
		go func() {
			_ = c.Wait()
			close(ended)
		}()
		time.AfterFunc(300*time.Millisecond, s.http.CloseClientConnections)
		select {
		case <-ended:
			t.Errorf("%s: it ended by itself, exit code %d", protocol, c.ProcessState.ExitCode())
		case <-time.After(600 * time.Millisecond):
		}
		_ = c.Process.Kill()
		<-ended
		if out.Len() > 0 {
			t.Errorf("%s: %d bytes of output", protocol, out.Len())
		}
	}
}

func TestTLS(t *testing.T) {
	s := newServer(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert})
	cert, key := s.certificateFiles()
	trust := []string{"--ca", cert, "--server-name", "example.com"}
	identity := []string{"--cert", cert, "--key", key}
	for _, protocol := range protocols {
		for name, test := range map[string]struct {
			flags []string
			code  int
			err   string
		}{
			"all of it":   {append(trust, identity...), 7, ""},
			"no identity": {trust, failed, "tls: "},
			"no trust":    {identity, failed, "x509: "},
			"other name":  {append(identity, "--ca", cert, "--server-name", "example.org"), failed, "x509: "},
		} {
			got := runProgram(t, "", all("exec", protocol, s.execURL("exit"), test.flags...)...)
			if got.code != test.code || !strings.Contains(got.err, test.err) {
				t.Errorf("%s, %s: %+v", protocol, name, got)
			}
		}
	}
}
