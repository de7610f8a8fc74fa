// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func openStdin(c *cri.ContainerConfig) { c.Stdin = true }

func stdinOnce(c *cri.ContainerConfig) { c.Stdin, c.StdinOnce = true, true }

func onTerminal(c *cri.ContainerConfig) { c.Stdin, c.Tty = true, true }

// TestAttach joins clients of all protocols to containers.
func TestAttach(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	for _, protocol := range protocols {
		n.sub(protocol, func(n *node) {
			p := p.in(n)
			n.sub("pipes", func(n *node) { p.in(n).testAttachPipes(protocol) })
			n.sub("terminal", func(n *node) { p.in(n).testAttachTerminal(protocol) })
			n.sub("several", func(n *node) { p.in(n).testAttachSeveral(protocol) })
			n.sub("client hangs", func(n *node) { p.in(n).testAttachHanging(protocol) })
			if endsInput(protocol) {
				n.sub("input ends", func(n *node) { p.in(n).testAttachInputEnds(protocol) })
			}
		})
	}
}

// echoes answers each line; the word end ends it.
const echoes = "while read line; do [ $line = end ] && break; echo got $line; echo err $line >&2; done; echo bye; exit 4"

// attach joins a client whose input the test writes.
func (c *workload) attach(s session) *background {
	c.Helper()
	s.stdin = strings.NewReader("")
	return c.startClient("attach", c.attachURL(s), s)
}

func (p *pod) testAttachPipes(protocol string) {
	c := p.container(echoes, openStdin)
	b := c.attach(session{protocol: protocol})
	b.says("one\n")
	b.awaitOutput("got one\n")
	eventually(p, "errors come apart", func() bool { return strings.Contains(b.errs.String(), "err one\n") })
	b.vanish()
	if !c.running() {
		p.Error("the container has ended with its client")
	}
	b = c.attach(session{protocol: protocol})
	b.says("two\nend\n")
	if code := b.awaitEnd(); code != 0 || !strings.HasSuffix(b.out.String(), "got two\nbye\n") {
		p.Errorf("exit code %d, %q, %q", code, b.out, b.errs)
	}
	if s := c.awaitExit(); s.GetExitCode() != 4 {
		p.Errorf("status %v", s)
	}
}

func (p *pod) testAttachTerminal(protocol string) {
	c := p.container("stty -echo; while read line; do case $line in size) stty size;; end) break;; *) echo got $line;; esac; done; echo bye", onTerminal)
	b := c.attach(session{protocol: protocol, tty: true, flags: []string{"--size", "90x20,91x21", "--size-every", "100ms"}})
	b.says("a\x10b\n")
	b.awaitOutput("got a\x10b\r\n")
	eventually(p, "the terminal has the second size", func() bool {
		b.says("size\n")
		return strings.Contains(b.out.String(), "21 91\r\n")
	})
	b.says("end\n")
	b.awaitOutput("bye\r\n")
	if code := b.awaitEnd(); code != 0 {
		p.Errorf("exit code %d, %q", code, b.errs)
	}
}

func (p *pod) testAttachSeveral(protocol string) {
	c := p.container(echoes, openStdin)
	first, second := c.attach(session{protocol: protocol}), c.attach(session{protocol: protocol})
	eventually(p, "both see what one has said", func() bool {
		first.says("hello\n")
		return strings.Contains(first.out.String(), "got hello\n") && strings.Contains(second.out.String(), "got hello\n")
	})
	second.says("there\n")
	first.awaitOutput("got there\n")
	first.vanish()
	second.says("still\n")
	second.awaitOutput("got still\n")
	second.says("end\n")
	second.awaitOutput("bye\n")
	if code := second.awaitEnd(); code != 0 {
		p.Errorf("exit code %d, %q", code, second.errs)
	}
}

// testAttachInputEnds: the end of the input is the container's only where it is
// to be so, and cuts off no output anywhere.
func (p *pod) testAttachInputEnds(protocol string) {
	const script = "cat; sleep 1; echo end of input; sleep 1; echo more"
	once := p.container(script, stdinOnce)
	b := once.attach(session{protocol: protocol})
	b.says("hello\n")
	b.in.Close()
	if code := b.awaitEnd(); code != 0 || b.out.String() != "hello\nend of input\nmore\n" {
		p.Errorf("exit code %d, %q, %q", code, b.out, b.errs)
	}
	open := p.container("read line; echo got $line; sleep 2; echo later; cat", openStdin)
	b = open.attach(session{protocol: protocol})
	b.says("hello\n")
	b.in.Close()
	b.awaitOutput("got hello\n")
	b.awaitOutput("later\n")
	if !open.running() {
		p.Error("the container's input has ended")
	}
	open.stop(0)
	b.awaitEnd()
}

// testAttachHanging: a client that reads nothing is let go, since the container
// would wait for it.
func (p *pod) testAttachHanging(protocol string) {
	c := p.container("sleep 2; head -c 16000000 /dev/zero | tr '\\000' x; touch /tmp/done; "+idle, openStdin)
	b := c.attach(session{protocol: protocol, flags: []string{"--hang-stdout"}})
	within(p, time.Minute, "the container has written everything", func() bool { return c.execSync("stat /tmp/done").ExitCode == 0 })
	if c.Failed() {
		p.Errorf("client: %q", b.errs)
	}
}
