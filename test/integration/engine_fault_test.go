// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestEngineHangs stops the engine's process for a while. Reads go on, Status
// tells, and all heals.
func TestEngineHangs(t *testing.T) {
	// noticed is the daemon's promise; the kubelet's own patience is 30 s.
	const stopped, noticed, atOnce = 15 * time.Second, 11 * time.Second, 100 * time.Millisecond
	n := newNode(t)
	p := n.pod()
	c := p.container(idle)
	eventually(n, "the container is settled", func() bool {
		return c.status().GetStartedAt() == engineTime(n, n.engine.inspect(n, c.id).State.StartedAt).UnixNano()
	})
	before := n.snapshot()
	goOn := func() { n.engine.signal(t, syscall.SIGCONT) }
	t.Cleanup(goOn) // before the pods are removed
	n.engine.signal(n, syscall.SIGSTOP)
	end := time.After(stopped)
	took := within(n, noticed, "Status says that the runtime is not ready", func() bool {
		start := time.Now()
		ready := n.condition(cri.RuntimeReady)
		if answered := time.Since(start); answered > atOnce {
			n.Errorf("Status took %s", answered)
		}
		return !ready.Status && ready.Reason != "" && ready.Message != ""
	})
	n.Logf("noticed after %s: %s", took.Round(100*time.Millisecond), n.condition(cri.RuntimeReady).Message)
	for reading := true; reading; {
		start := time.Now()
		if after := n.snapshot(); !bytes.Equal(before, after) {
			n.Fatalf("while the engine hangs the answers differ:\n%q\n%q", before, after)
		}
		if answered := time.Since(start); answered > atOnce {
			n.Errorf("lists and statuses took %s", answered)
		}
		select {
		case <-end:
			reading = false
		case <-time.After(time.Second):
		}
	}
	goOn()
	eventually(n, "Status is good again", func() bool { return n.condition(cri.RuntimeReady).Status })
	if after := n.snapshot(); !bytes.Equal(before, after) {
		n.Errorf("afterwards the answers differ:\n%q\n%q", before, after)
	}
	if got := p.output("echo more"); got != "more\n" {
		n.Errorf("a new container says %q", got)
	}
}

// TestEngineRestarted: without live-restore its containers end with it.
func TestEngineRestarted(t *testing.T) {
	n := newNode(t)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		n.sub(signal.String(), func(n *node) {
			p := n.pod(withHostPort)
			c := p.container(idle)
			n.endEngine(signal)
			if _, err := n.runtime.StopContainer(n.Context(), &cri.StopContainerRequest{ContainerId: c.id}); status.Code(err) != codes.Unavailable && err != nil {
				n.Errorf("StopContainer without an engine: %v", err)
			}
			n.startEngine()
			eventually(n, "sandbox and container have ended", func() bool { return !p.ready() && !c.running() })
			if s := c.status(); s.GetState() != cri.ContainerState_CONTAINER_EXITED || s.GetReason() == "" || s.GetFinishedAt() == 0 {
				n.Errorf("status is %v", s)
			}
			// The kubelet runs the pod anew, and removes what was.
			config := n.podConfig(withHostPort)
			config.Metadata.Name, config.Metadata.Uid, config.Metadata.Attempt = p.config.Metadata.Name, p.config.Metadata.Uid, 1
			n.removePod(p.id)
			if second := n.run(config); !second.ready() {
				n.Error("the next attempt is not ready")
			}
		})
	}
}

// TestEngineRestartedLive: with live-restore pods run on, and are unchanged.
func TestEngineRestartedLive(t *testing.T) {
	n := newNode(t)
	n.endEngine(syscall.SIGTERM)
	n.startEngine("--live-restore")
	t.Cleanup(func() {
		n.endEngine(syscall.SIGTERM)
		n.startEngine()
	})
	n.keepBalance()
	own, err := os.ReadFile("/etc/resolv.conf")
	n.must("read the node's resolv.conf", err)
	asked := n.pod(func(c *cri.PodSandboxConfig) {
		c.DnsConfig = &cri.DNSConfig{Servers: []string{"10.96.0.10"}, Options: []string{"ndots:5"}}
	})
	plain, onHost := n.pod(), n.pod(onHostNetwork)
	want := map[*pod]string{asked: "nameserver 10.96.0.10\noptions ndots:5\n", plain: string(own), onHost: string(own)}
	containers := map[*pod]*workload{}
	for p := range want {
		containers[p] = p.container("echo 1; " + idle)
	}
	address := asked.address()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		n.sub(signal.String(), func(n *node) {
			n.endEngine(signal)
			for p, c := range containers {
				if !c.running() || !p.ready() {
					n.Errorf("%s does not run while the engine is away", p.config.Metadata.Name)
				}
			}
			n.startEngine("--live-restore")
			for p, c := range containers {
				if !c.running() || !p.ready() || n.engine.inspect(n, c.id).State.Pid != c.pid {
					n.Errorf("%s does not run on", p.config.Metadata.Name)
				}
				if got := c.file("/etc/resolv.conf"); got != want[p] {
					n.Errorf("resolv.conf of a running container is %q, want %q", got, want[p])
				}
				if got := p.container(idle).file("/etc/resolv.conf"); got != want[p] {
					n.Errorf("resolv.conf of a new container is %q, want %q", got, want[p])
				}
			}
			if got := asked.address(); got != address {
				n.Errorf("the address is %s, was %s", got, address)
			}
		})
	}
}

// endEngine ends the engine, and returns when Status tells.
func (n *node) endEngine(signal syscall.Signal) {
	n.Helper()
	n.engine.end(n, signal)
	eventually(n, "Status says that the runtime is not ready", func() bool { return !n.condition(cri.RuntimeReady).Status })
}

// startEngine starts it again, and returns when Status tells.
func (n *node) startEngine(args ...string) {
	n.Helper()
	n.engine.start(n, args...)
	eventually(n, "Status is good again", func() bool { return n.condition(cri.RuntimeReady).Status })
}
