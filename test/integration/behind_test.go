// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// soon is how long lists may lag behind what somebody else does.
const soon = time.Second

// withHostPort makes the network hold a firewall rule as well.
func withHostPort(c *cri.PodSandboxConfig) {
	c.PortMappings = []*cri.PortMapping{{ContainerPort: 80, HostPort: 18088}}
}

// TestContainersBehindOurBack: what somebody does with the docker command shows
// in lists.
func TestContainersBehindOurBack(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	stopped, killed, removed := p.container(idle), p.container(idle), p.container(idle)
	n.must("stop", n.engine.ContainerStop(n.Context(), stopped.id, container.StopOptions{}))
	within(n, soon, "the stopped one has exited", func() bool { return !stopped.running() })
	n.must("kill", n.engine.ContainerKill(n.Context(), killed.id, "SIGKILL"))
	within(n, soon, "the killed one has exited", func() bool { return !killed.running() })
	if s := killed.status(); s.GetExitCode() != 137 || s.GetReason() != "Error" {
		n.Errorf("status is %v", s)
	}
	n.engine.remove(n, removed.id)
	within(n, soon, "the removed one is gone", func() bool {
		return !slices.Contains(idsOf(n.listContainers(nil)), removed.id)
	})
	n.must("start", n.engine.ContainerStart(n.Context(), stopped.id, container.StartOptions{}))
	within(n, soon, "the one started again runs", stopped.running)
	n.must("pause", n.engine.ContainerPause(n.Context(), stopped.id))
	if !stopped.running() {
		n.Error("a paused container counts as running")
	}
	n.must("unpause", n.engine.ContainerUnpause(n.Context(), stopped.id))
}

// TestSandboxRemovedBehindOurBack: its address, firewall rules and namespace are
// given back.
func TestSandboxRemovedBehindOurBack(t *testing.T) {
	n := newNode(t)
	before := n.inventory()
	p := n.pod(withHostPort)
	n.engine.remove(n, p.id)
	within(n, soon, "the sandbox is gone", func() bool { return len(n.listPods(nil)) == 0 })
	eventually(n, "all that it had is given back", func() bool { return slices.Equal(n.inventory(), before) })
}

// TestSandboxRemovedWhileAway is the same while no daemon runs.
func TestSandboxRemovedWhileAway(t *testing.T) {
	n := newNode(t)
	before := n.inventory()
	p := n.pod(withHostPort)
	n.end(n, syscall.SIGKILL)
	n.engine.remove(n, p.id)
	n.daemon.start(t)
	n.awaitReady()
	eventually(n, "all that it had is given back", func() bool { return slices.Equal(n.inventory(), before) })
}

// TestPauseKilled: without its pause process a sandbox is not ready, not even
// when somebody starts that again: the network of the pod is gone.
func TestPauseKilled(t *testing.T) {
	n := newNode(t)
	p := n.pod(withHostPort)
	n.must("kill the pause process", syscall.Kill(n.engine.inspect(n, p.id).State.Pid, syscall.SIGKILL))
	within(n, soon, "the sandbox is not ready", func() bool { return !p.ready() })
	n.must("start it again", n.engine.ContainerStart(n.Context(), p.id, container.StartOptions{}))
	within(n, soon, "the daemon sees that it runs", func() bool { return n.engineState(p.id) == "running" })
	if p.ready() {
		n.Error("a sandbox without a network is ready")
	}
	n.restart(syscall.SIGTERM)
	if p.ready() {
		n.Error("after a restart, a sandbox without a network is ready")
	}
	// The kubelet runs another attempt, and removes this one.
	config := n.podConfig(withHostPort)
	config.Metadata.Name, config.Metadata.Uid, config.Metadata.Attempt = p.config.Metadata.Name, p.config.Metadata.Uid, 1
	n.removePod(p.id)
	if second := n.run(config); !second.ready() {
		n.Error("the next attempt is not ready")
	}
}

// engineState is what the daemon thinks that the engine says of a sandbox.
func (n *node) engineState(id string) string {
	n.Helper()
	r, err := n.runtime.PodSandboxStatus(n.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	n.must("PodSandboxStatus", err)
	var info struct{ State string }
	n.must("read verbose status", json.Unmarshal([]byte(r.GetInfo()["info"]), &info))
	return info.State
}
