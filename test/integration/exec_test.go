// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestExec runs commands for clients of all protocols.
func TestExec(t *testing.T) {
	n := newNode(t)
	c := n.pod().steady()
	before, files := c.processes(), n.openFiles()
	for _, protocol := range protocols {
		n.sub(protocol, func(n *node) {
			c := c.in(n)
			n.sub("pipes", func(n *node) { c.in(n).testExecPipes(protocol) })
			n.sub("terminal", func(n *node) { c.in(n).testExecTerminal(protocol) })
			n.sub("cannot be run", func(n *node) { c.in(n).testExecNotRunnable(protocol) })
			n.sub("client vanishes", func(n *node) { c.in(n).testExecVanishing(protocol) })
			n.sub("slow client", func(n *node) { c.in(n).testExecSlowClient(protocol) })
		})
	}
	c.awaitProcesses(before)
	n.awaitOpenFiles(files)
}

func (c *workload) testExecPipes(protocol string) {
	s := session{protocol: protocol}
	for script, want := range map[string]result{
		"echo out; echo err >&2; exit 7": {[]byte("out\n"), []byte("err\n"), 7},
		"true":                           {},
		"kill -9 $$":                     {code: 137},
		"tty":                            {stdout: []byte("not a tty\n"), code: 1},
		`printf '\000\377\001'`:          {stdout: []byte("\x00\xff\x01")},
	} {
		got := c.exec(s, script)
		if !bytes.Equal(got.stdout, want.stdout) || !bytes.Contains(got.stderr, want.stderr) || got.code != want.code {
			c.Errorf("%s: %s, want %s", script, got, want)
		}
	}
	s.stdin = strings.NewReader("first\nsecond\n")
	if got := c.exec(s, "read line; echo got $line"); string(got.stdout) != "got first\n" || got.code != 0 {
		c.Errorf("input: %s", got)
	}
	if !endsInput(protocol) {
		return
	}
	s.stdin = strings.NewReader("to the end")
	if got := c.exec(s, "cat; sleep 1; echo . end; exit 8"); string(got.stdout) != "to the end. end\n" || got.code != 8 {
		c.Errorf("end of input: %s", got)
	}
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d, stdout %.200q, stderr %.200q", r.code, r.stdout, r.stderr)
}

func (c *workload) testExecTerminal(protocol string) {
	s := session{protocol: protocol, tty: true, flags: []string{"--size", "81x25"}}
	// On 20.10 a terminal gets its size only after the start.
	script := "until [ \"$(stty size 2>&1)\" = '25 81' ]; do sleep 0.01; done; tty; exit 5"
	if got := c.exec(s, script); !strings.HasPrefix(string(got.stdout), "/dev/") || got.code != 5 {
		c.Errorf("size: %s", got)
	}
	if !c.oldEngine() {
		if got := c.exec(s, "stty size"); string(got.stdout) != "25 81\r\n" {
			c.Errorf("size before the first byte: %s", got)
		}
	}
	s.flags = []string{"--size", "81x25,100x30", "--size-every", "300ms"}
	if got := c.exec(s, "until [ \"$(stty size 2>&1)\" = '30 100' ]; do sleep 0.05; done; echo resized"); string(got.stdout) != "resized\r\n" {
		c.Errorf("second size: %s", got)
	}
	b := c.startClient("exec", c.execURL(session{tty: true, stdin: strings.NewReader("")}, "sh", "-c", "stty -echo raw; echo ready; head -c 6 | cat -A; echo; exit 9"), session{protocol: protocol, tty: true})
	b.awaitOutput("ready")
	// The engine holds the NUL back, by which its detach keys begin. Not the second of
	// these as well: where that comes in one read with another key, moby/term (v0.5.2,
	// proxy.go) passes it on twice.
	for _, key := range []string{"\x10", "\x11", "a", "\x00", "\x1e", "b"} {
		b.says(key)
	}
	b.awaitOutput("^P^Qa^@^^b")
	if code := b.awaitEnd(); code != 9 {
		c.Errorf("exit code %d", code)
	}
}

// oldEngine tells whether the engine takes no size of a terminal at its start.
func (n *node) oldEngine() bool { return strings.HasPrefix(n.engine.ClientVersion(), "1.41") }

func (c *workload) testExecNotRunnable(protocol string) {
	s := session{protocol: protocol}
	got := c.runClient(c.client("exec", c.execURL(s, "no-such-command"), s), 0)
	if got.code != 127 || len(got.stdout) > 0 || !strings.Contains(string(got.stderr), "executable file not found") || strings.Contains(string(got.stderr), "OCI runtime") {
		c.Errorf("missing command: %s", got)
	}
	got = c.runClient(c.client("exec", c.execURL(s, "/www/index.html/sub"), s), 0)
	if got.code != 126 {
		c.Errorf("not a directory: %s", got)
	}
	s.tty = true
	got = c.runClient(c.client("exec", c.execURL(s, "no-such-command"), s), 0)
	if got.code != 127 || !strings.HasSuffix(string(got.stdout), "not found in $PATH\r\n") {
		c.Errorf("missing command on a terminal: %s", got)
	}
}

func (c *workload) testExecVanishing(protocol string) {
	before := c.processes()
	for name, script := range map[string]string{
		"silent":            "echo ready; sleep 1000",
		"chatty":            "echo ready; while echo more; do :; done",
		"reads":             "echo ready; cat >/dev/null; sleep 1000",
		"leaves input":      "echo ready; sleep 1000",
		"children":          "(sleep 1000 &); setsid sleep 1001 & echo ready; sleep 1002",
		"deaf to a hang-up": "trap '' HUP TERM INT; echo ready; sleep 1000; sleep 1001",
	} {
		for _, tty := range []bool{false, true} {
			s := session{protocol: protocol, tty: tty, stdin: strings.NewReader("")}
			b := c.startClient("exec", c.execURL(s, "sh", "-c", script), s)
			b.awaitOutput("ready")
			if name == "leaves input" {
				b.floods()
			}
			b.vanish()
			c.awaitProcesses(before)
			if c.Failed() {
				c.Fatalf("%s, terminal %v", name, tty)
			}
		}
	}
}

// floods writes more input than anybody reads, until the client takes no more.
func (b *background) floods() {
	written := make(chan struct{}, 1)
	go func() {
		zeros := make([]byte, 64<<10)
		for {
			if _, err := b.in.Write(zeros); err != nil {
				return
			}
			select {
			case written <- struct{}{}:
			default:
			}
		}
	}()
	// A terminal drops what it has no room for, for ever.
	for range 100 {
		select {
		case <-written:
		case <-time.After(time.Second):
			return
		}
	}
}

// testExecSlowClient: what was written before the end arrives, even if it is
// fetched late. The sizes are about what the engine holds back by itself.
func (c *workload) testExecSlowClient(protocol string) {
	sizes := []int{100_000, 1_300_000, 1_350_000, 2_700_000, 8_000_000}
	c.together("exec", 2*len(sizes), func(i int) error {
		size, tty := sizes[i/2], i%2 == 1
		s := session{protocol: protocol, tty: tty, flags: []string{"--read-delay", "4s"}, outlasting: time.Minute}
		if got := c.exec(s, fmt.Sprintf("head -c %d /dev/zero; exit 3", size)); len(got.stdout) != size || got.code != 3 {
			return fmt.Errorf("terminal %v: %d bytes of %d, exit code %d, %s", tty, len(got.stdout), size, got.code, got.stderr)
		}
		return nil
	})
}

// TestExecMuch sends 256 MiB each way.
func TestExecMuch(t *testing.T) {
	n := newNode(t)
	c := n.pod().steady()
	const size = 256 << 20
	for _, protocol := range protocols {
		n.sub(protocol, func(n *node) {
			c := c.in(n)
			sent := sha256.New()
			input := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), size), sent)
			s := session{protocol: protocol, stdin: input, noStderr: true, outlasting: 3 * time.Minute}
			client := n.client("exec", c.execURL(s, "head", "-c", fmt.Sprint(size)), s)
			received := sha256.New()
			client.Stdout = received
			var errs bytes.Buffer
			client.Stderr = &errs
			kill := time.AfterFunc(3*time.Minute, func() { _ = client.Process.Kill() })
			defer kill.Stop()
			if err := client.Run(); err != nil {
				n.Fatalf("client: %v: %s", err, &errs)
			}
			if got, want := hex.EncodeToString(received.Sum(nil)), hex.EncodeToString(sent.Sum(nil)); got != want {
				n.Errorf("received %s, sent %s", got, want)
			}
		})
	}
}

// TestExecManyAtOnce runs a hundred commands for a hundred clients.
func TestExecManyAtOnce(t *testing.T) {
	n := newNode(t)
	c := n.pod().steady()
	before, files := c.processes(), n.openFiles()
	n.together("exec", 100, func(i int) error {
		s := session{protocol: protocols[i%len(protocols)], outlasting: 2 * time.Minute}
		if got := c.exec(s, fmt.Sprintf("echo %d; exit %d", i, i)); string(got.stdout) != fmt.Sprintln(i) || got.code != i {
			return fmt.Errorf("command %d: %s", i, got)
		}
		return nil
	})
	c.awaitProcesses(before)
	n.awaitOpenFiles(files)
}

// TestExecOfEndingContainer: the client learns of the end.
func TestExecOfEndingContainer(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	for _, protocol := range protocols {
		c := p.steady()
		s := session{protocol: protocol}
		b := c.startClient("exec", c.execURL(session{stdin: strings.NewReader("")}, "sh", "-c", "echo ready; sleep 1000"), s)
		b.awaitOutput("ready")
		c.stop(0)
		if code := b.awaitEnd(); code != 137 && code != clientFailed {
			n.Errorf("%s: exit code %d, %s", protocol, code, b.errs)
		}
	}
}

// TestStreamsRefused are requests that get no URL, and URLs that serve nothing.
func TestStreamsRefused(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	c, ended := p.steady(), p.container("exit 0")
	ended.awaitExit()
	sh := []string{"sh"}
	exec := func(r *cri.ExecRequest) error { _, err := n.runtime.Exec(n.Context(), r); return err }
	attach := func(r *cri.AttachRequest) error { _, err := n.runtime.Attach(n.Context(), r); return err }
	forward := func(r *cri.PortForwardRequest) error { _, err := n.runtime.PortForward(n.Context(), r); return err }
	stopped := n.pod()
	n.stopPod(stopped.id)
	for what, test := range map[string]struct {
		err  error
		code codes.Code
	}{
		"exec without command":      {exec(&cri.ExecRequest{ContainerId: c.id, Stdout: true}), codes.InvalidArgument},
		"exec without streams":      {exec(&cri.ExecRequest{ContainerId: c.id, Cmd: sh}), codes.InvalidArgument},
		"exec terminal and stderr":  {exec(&cri.ExecRequest{ContainerId: c.id, Cmd: sh, Tty: true, Stdout: true, Stderr: true}), codes.InvalidArgument},
		"exec of nothing":           {exec(&cri.ExecRequest{Cmd: sh, Stdout: true}), codes.InvalidArgument},
		"exec of unknown":           {exec(&cri.ExecRequest{ContainerId: "0123456789ab", Cmd: sh, Stdout: true}), codes.NotFound},
		"exec of ended":             {exec(&cri.ExecRequest{ContainerId: ended.id, Cmd: sh, Stdout: true}), codes.FailedPrecondition},
		"attach without streams":    {attach(&cri.AttachRequest{ContainerId: c.id}), codes.InvalidArgument},
		"attach to unknown":         {attach(&cri.AttachRequest{ContainerId: "0123456789ab", Stdout: true}), codes.NotFound},
		"attach to ended":           {attach(&cri.AttachRequest{ContainerId: ended.id, Stdout: true}), codes.FailedPrecondition},
		"forward of port 0":         {forward(&cri.PortForwardRequest{PodSandboxId: p.id, Port: []int32{0}}), codes.InvalidArgument},
		"forward of port 65536":     {forward(&cri.PortForwardRequest{PodSandboxId: p.id, Port: []int32{65536}}), codes.InvalidArgument},
		"forward of unknown":        {forward(&cri.PortForwardRequest{PodSandboxId: "0123456789ab"}), codes.NotFound},
		"forward of stopped":        {forward(&cri.PortForwardRequest{PodSandboxId: stopped.id}), codes.FailedPrecondition},
		"forward of nothing at all": {forward(&cri.PortForwardRequest{}), codes.InvalidArgument},
	} {
		n.wantCode(what, test.err, test.code)
	}
	s := session{protocol: "spdy"}
	url := c.execURL(s, "true")
	if got := n.runClient(n.client("exec", url, s), 0); got.code != 0 {
		n.Errorf("first use: %s", got)
	}
	for what, url := range map[string]string{"used": url, "torn": url[:len(url)-3], "of another kind": strings.Replace(c.execURL(s, "true"), "/exec/", "/attach/", 1)} {
		if got := n.runClient(n.client("exec", url, s), 0); got.code != clientFailed {
			n.Errorf("%s URL: %s", what, got)
		}
	}
	// Between the URL and its use the container may end or be paused.
	for what, change := range map[string]func(*workload){
		"is not running": func(c *workload) { c.stop(0) },
		"paused":         func(c *workload) { n.must("pause", n.engine.ContainerPause(n.Context(), c.id)) },
	} {
		c := p.steady()
		url := c.execURL(s, "true")
		change(c)
		if got := n.runClient(n.client("exec", url, s), 0); got.code != clientFailed || !strings.Contains(string(got.stderr), what) {
			n.Errorf("%s: %s", what, got)
		}
		_ = n.engine.ContainerUnpause(n.Context(), c.id)
	}
}
