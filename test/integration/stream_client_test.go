// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// protocols are those of exec and attach, and forwardProtocols of port-forward,
// in which the server speaks to clients. websocket is version 4.
var (
	protocols        = []string{"spdy", "websocket", "websocket-v5"}
	forwardProtocols = []string{"spdy", "websocket-tunnel"}
)

// endsInput tells whether a client can end its input alone.
func endsInput(protocol string) bool { return protocol != "websocket" }

// clientFailed is the exit code by which the client tells of an error of its
// own; any other is the command's.
const clientFailed = 250

// session is what a client does at one URL.
type session struct {
	protocol   string
	tty        bool
	stdin      io.Reader // nil: not asked for
	noStderr   bool
	flags      []string
	outlasting time.Duration // how long the client may run; 0 is for patience
}

// result is what a client got.
type result struct {
	stdout, stderr []byte
	code           int
}

// client is streamclient, which speaks to a URL as kubectl does.
func (n *node) client(verb, url string, s session) *exec.Cmd {
	n.Helper()
	args := append([]string{verb, "--url", url, "--stdout"}, s.flags...)
	if s.protocol != "" {
		args = append(args, "--protocol", s.protocol)
	}
	if s.tty {
		args = append(args, "--tty")
	} else if !s.noStderr {
		args = append(args, "--stderr")
	}
	if s.stdin != nil {
		args = append(args, "--stdin")
	}
	c := exec.Command(program(n.T, "STREAMCLIENT", "streamclient"), args...)
	c.Stdin = s.stdin
	return c
}

// run lets the client come to its end.
func (n *node) runClient(c *exec.Cmd, limit time.Duration) result {
	n.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	n.must("start the client", c.Start())
	kill := time.AfterFunc(max(limit, 3*patience), func() { _ = c.Process.Kill() })
	defer kill.Stop()
	var exit *exec.ExitError
	err := c.Wait()
	if err != nil && !errors.As(err, &exit) {
		n.Fatalf("client: %v", err)
	}
	return result{out.Bytes(), errs.Bytes(), c.ProcessState.ExitCode()}
}

// execURL asks for the URL of a command.
func (c *workload) execURL(s session, cmd ...string) string {
	c.Helper()
	r, err := c.runtime.Exec(c.Context(), &cri.ExecRequest{
		ContainerId: c.id, Cmd: cmd, Tty: s.tty, Stdin: s.stdin != nil, Stdout: true, Stderr: !s.tty && !s.noStderr,
	})
	c.must("Exec", err)
	if !strings.HasPrefix(r.GetUrl(), "http://127.0.0.1:") {
		c.Errorf("URL %s", r.GetUrl())
	}
	return r.GetUrl()
}

// exec runs a shell script for a client.
func (c *workload) exec(s session, script string) result {
	c.Helper()
	return c.runClient(c.client("exec", c.execURL(s, "sh", "-c", script), s), s.outlasting)
}

// attachURL asks for the URL of the container's own streams.
func (c *workload) attachURL(s session) string {
	c.Helper()
	r, err := c.runtime.Attach(c.Context(), &cri.AttachRequest{
		ContainerId: c.id, Tty: s.tty, Stdin: s.stdin != nil, Stdout: true, Stderr: !s.tty && !s.noStderr,
	})
	c.must("Attach", err)
	return r.GetUrl()
}

// background is a client that the test speaks to while it runs.
type background struct {
	*node
	*exec.Cmd
	in       io.WriteCloser
	out      *growing
	errs     *growing
	finished chan error
}

// startClient starts a client whose input the test writes.
func (n *node) startClient(verb, url string, s session) *background {
	n.Helper()
	s.stdin = strings.NewReader("")
	b := &background{node: n, Cmd: n.client(verb, url, s), out: &growing{}, errs: &growing{}, finished: make(chan error, 1)}
	// With a pipe of the system's, nobody waits for input once the client is gone.
	b.Stdin = nil
	var err error
	b.in, err = b.StdinPipe()
	n.must("start the client", err)
	b.Stdout, b.Stderr = b.out, b.errs
	n.must("start the client", b.Start())
	go func() { b.finished <- b.Wait() }()
	n.Cleanup(func() {
		_ = b.Process.Kill()
		b.in.Close()
	})
	return b
}

// says writes to the client's input.
func (b *background) says(text string) {
	b.node.Helper()
	_, err := io.WriteString(b.in, text)
	b.must("write to the client", err)
}

// awaitOutput waits until the client has shown the text.
func (b *background) awaitOutput(text string) {
	b.node.Helper()
	defer func() {
		if b.node.Failed() {
			b.node.Logf("the client has shown %q, %q", b.out, b.errs)
		}
	}()
	eventually(b.node, fmt.Sprintf("the client shows %q", text), func() bool { return strings.Contains(b.out.String(), text) })
}

// awaitEnd waits for the client's end and returns its exit code.
func (b *background) awaitEnd() int {
	b.node.Helper()
	select {
	case <-b.finished:
		return b.ProcessState.ExitCode()
	case <-time.After(2 * patience):
		b.Fatalf("the client does not end; it has shown %q, %q", b.out, b.errs)
		return 0
	}
}

// vanish ends the client without a word.
func (b *background) vanish() {
	b.node.Helper()
	b.must("kill the client", b.Process.Kill())
	<-b.finished
}
