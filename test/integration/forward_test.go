// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// forward listens on a port of the test's own for a port of the pod, and
// returns its address.
func (p *pod) forward(port int) string {
	p.Helper()
	return p.forwardBy("spdy", port)
}

func (p *pod) forwardBy(protocol string, port int) string {
	p.Helper()
	r, err := p.runtime.PortForward(p.Context(), &cri.PortForwardRequest{PodSandboxId: p.id})
	p.must("PortForward", err)
	return p.forwardURLBy(protocol, r.GetUrl(), port)
}

func (p *pod) forwardURL(url string, port int) string {
	p.Helper()
	return p.forwardURLBy("spdy", url, port)
}

func (p *pod) forwardURLBy(protocol, url string, port int) string {
	p.Helper()
	c := exec.Command(program(p.T, "STREAMCLIENT", "streamclient"), "forward", "--protocol", protocol, "--url", url, fmt.Sprintf("0:%d", port))
	in, err := c.StdinPipe()
	p.must("start the client", err)
	out, err := c.StdoutPipe()
	p.must("start the client", err)
	var errs growing
	c.Stderr = &errs
	p.must("start the client", c.Start())
	p.Cleanup(func() {
		in.Close()
		_ = c.Wait()
		if p.Failed() {
			p.Logf("client: %s", &errs)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	p.must("read where the client listens", err)
	var local int
	if _, err := fmt.Sscanf(line, "forwarding %d ->", &local); err != nil {
		p.Fatalf("%q: %v", line, err)
	}
	return fmt.Sprintf("127.0.0.1:%d", local)
}

// get fetches the page of a server.
func get(address string) (string, error) {
	client := http.Client{Timeout: 2 * patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + address + "/index.html")
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// TestForward reaches servers in pods.
func TestForward(t *testing.T) {
	n := newNode(t)
	for name, test := range map[string]struct {
		pod    []func(*cri.PodSandboxConfig)
		script string
		port   int
	}{
		"pod":       {nil, "httpd -f -p 80 -h /www", 80},
		"loopback":  {nil, "httpd -f -p 127.0.0.1:80 -h /www", 80},
		"IPv6 only": {[]func(*cri.PodSandboxConfig){withIPv6}, "httpd -f -p [::1]:80 -h /www", 80},
		"host":      {[]func(*cri.PodSandboxConfig){onHostNetwork}, "httpd -f -p 127.0.0.1:18080 -h /www", 18080},
	} {
		n.sub(name, func(n *node) {
			p := n.pod(test.pod...)
			p.container(test.script)
			for _, protocol := range forwardProtocols {
				address := p.forwardBy(protocol, test.port)
				eventually(n, protocol+": the page comes", func() bool { text, err := get(address); return err == nil && text == page })
			}
		})
	}
}

// withIPv6 gives the pod's loopback the address that the engine takes away.
func withIPv6(c *cri.PodSandboxConfig) {
	c.Linux.Sysctls = map[string]string{"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.lo.disable_ipv6": "0"}
}

// TestForwardMany has a hundred connections in one session.
func TestForwardMany(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	p.container("httpd -f -p 80 -h /www")
	for _, protocol := range forwardProtocols {
		n.sub(protocol, func(n *node) {
			p := p.in(n)
			files := n.openFiles()
			address := p.forwardBy(protocol, 80)
			eventually(n, "the page comes", func() bool { _, err := get(address); return err == nil })
			n.together("get", 100, func(i int) error {
				text, err := get(address)
				if err == nil && text != page {
					err = fmt.Errorf("%q", text)
				}
				return err
			})
			n.awaitOpenFiles(files)
		})
	}
}

// TestForwardRefused finds nobody at a port, and learns of it at once.
func TestForwardRefused(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	for _, protocol := range forwardProtocols {
		n.sub(protocol, func(n *node) {
			conn, err := net.Dial("tcp", p.in(n).forwardBy(protocol, 9000))
			n.must("connect", err)
			defer conn.Close()
			n.must("limit the time", conn.SetDeadline(time.Now().Add(patience)))
			text, err := io.ReadAll(conn)
			if len(text) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				n.Errorf("nobody says %q, %v", text, err)
			}
		})
	}
}

// TestForwardMuch sends 256 MiB each way.
func TestForwardMuch(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	p.container("nc -ll -p 9000 -e cat")
	for _, protocol := range forwardProtocols {
		n.sub(protocol, func(n *node) { p.in(n).testForwardMuch(protocol) })
	}
}

func (p *pod) testForwardMuch(protocol string) {
	n := p.node
	address := p.forwardBy(protocol, 9000)
	conn, err := net.Dial("tcp", address)
	n.must("connect", err)
	defer conn.Close()
	const size = 256 << 20
	sent := make(chan string)
	go func() {
		hash := sha256.New()
		_, _ = io.Copy(io.MultiWriter(conn, hash), io.LimitReader(rand.NewChaCha8([32]byte{2}), size))
		_ = conn.(*net.TCPConn).CloseWrite()
		sent <- hex.EncodeToString(hash.Sum(nil))
	}()
	n.must("limit the time", conn.SetDeadline(time.Now().Add(3*time.Minute)))
	received := sha256.New()
	count, err := io.Copy(received, conn)
	n.must("read", err)
	if got, want := hex.EncodeToString(received.Sum(nil)), <-sent; got != want || count != size {
		n.Errorf("received %d bytes, %s, sent %s", count, got, want)
	}
}

// TestForwardHalfClosed: each side may end its half alone.
func TestForwardHalfClosed(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	p.container("nc -ll -p 9000 -e sh -c 'cat; sleep 1; echo after the end'")
	for _, protocol := range forwardProtocols {
		n.sub(protocol, func(n *node) { p.in(n).testForwardHalfClosed(protocol) })
	}
}

func (p *pod) testForwardHalfClosed(protocol string) {
	n := p.node
	address := p.forwardBy(protocol, 9000)
	var text []byte
	eventually(n, "the server answers", func() bool {
		conn, err := net.Dial("tcp", address)
		n.must("connect", err)
		defer conn.Close()
		_, err = io.WriteString(conn, "hello\n")
		err = errors.Join(err, conn.(*net.TCPConn).CloseWrite())
		n.must("write", err)
		text, err = io.ReadAll(conn)
		return err == nil && len(text) > 0
	})
	if string(text) != "hello\nafter the end\n" {
		n.Errorf("read %q", text)
	}
}

// TestForwardByCrictl does it all once by hand.
func TestForwardByCrictl(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	c := p.container("httpd -f -p 80 -h /www")
	if out := n.crictl("exec", "-s", c.id, "echo", "in sync"); strings.TrimSpace(out) != "in sync" {
		n.Errorf("exec -s says %q", out)
	}
	for _, transport := range []string{"spdy", "websocket"} {
		if out := n.crictl("exec", "-r", transport, c.id, "cat", "/www/index.html"); out != page {
			n.Errorf("%s: exec says %q", transport, out)
		}
		if _, err := n.tryCrictl("exec", "-r", transport, c.id, "sh", "-c", "exit 7"); err == nil || !strings.Contains(err.Error(), "7") {
			n.Errorf("%s: exit code 7 is told as %v", transport, err)
		}
		p.testForwardByCrictl(transport)
	}
}

func (p *pod) testForwardByCrictl(transport string) {
	n := p.node
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	n.must("find a free port", err)
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	endpoint := "unix://" + n.socket
	forward := exec.Command(program(n.T, "CRICTL", "crictl"), "-r", endpoint, "-i", endpoint, "port-forward", "-r", transport, p.id, fmt.Sprintf("%d:80", port))
	n.must("crictl port-forward", forward.Start())
	defer func() {
		_ = forward.Process.Kill()
		_ = forward.Wait()
	}()
	eventually(n, transport+": the page comes", func() bool {
		text, err := get(fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil && text == page
	})
}
