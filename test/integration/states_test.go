// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestContainerStates follows containers to their ends.
func TestContainerStates(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	for name, test := range map[string]struct {
		script string
		stop   bool
		code   int32
		reason string
	}{
		"completed":           {"true", false, 0, "Completed"},
		"failed":              {"exit 3", false, 3, "Error"},
		"stopped":             {idle, true, 0, "Completed"},
		"stopped, own code":   {"trap 'exit 7' TERM; sleep 1000 & wait", true, 7, "Error"},
		"stopped, deaf to it": {"trap '' TERM; echo deaf; while true; do sleep 1; done", true, 137, "Error"},
	} {
		n.sub(name, func(n *node) {
			p := p.in(n)
			begin := time.Now().UnixNano()
			c := p.create(p.containerConfig("echo begun; " + test.script))
			created := c.status()
			if created.GetState() != cri.ContainerState_CONTAINER_CREATED || created.GetStartedAt() != 0 || created.GetFinishedAt() != 0 {
				n.Errorf("created: %v", created)
			}
			c.start()
			if test.stop {
				if !c.running() || c.status().GetFinishedAt() != 0 {
					n.Errorf("started: %v", c.status())
				}
				c.awaitLog("begun")
				c.stop(1)
				if c.running() {
					n.Error("runs after StopContainer")
				}
			}
			end := c.awaitExit()
			if end.GetExitCode() != test.code || end.GetReason() != test.reason {
				n.Errorf("ended with %d, %s (%s)", end.GetExitCode(), end.GetReason(), end.GetMessage())
			}
			times := []int64{begin, end.GetCreatedAt(), end.GetStartedAt(), end.GetFinishedAt(), time.Now().UnixNano()}
			if !slices.IsSorted(times) {
				n.Errorf("times are not in order: %d", times)
			}
		})
	}
}

// TestCannotRun: the reason of a start that failed stays with the container.
func TestCannotRun(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	profile := filepath.Join(n.TempDir(), "profile.json")
	n.must("write a profile", os.WriteFile(profile, []byte(`{"defaultAction": "UNHEARD_OF"}`), 0o600))
	var failed []*workload
	var before []*cri.ContainerStatus
	for name, test := range map[string]struct {
		edit   func(*cri.ContainerConfig)
		code   int32
		reason string
	}{
		"no such command": {func(c *cri.ContainerConfig) { c.Command = []string{"/no/such/command"} }, 127, "ContainerCannotRun"},
		"a directory":     {func(c *cri.ContainerConfig) { c.Command = []string{"/tmp"} }, 126, "ContainerCannotRun"},
		"the runtime's fault": {securely(func(s *cri.LinuxContainerSecurityContext) { s.Seccomp = localhost(profile) }),
			128, "StartError"},
	} {
		n.sub(name, func(n *node) {
			c := p.in(n).create(p.containerConfig("true", test.edit))
			if _, err := n.runtime.StartContainer(n.Context(), &cri.StartContainerRequest{ContainerId: c.id}); err == nil {
				n.Fatal("it was started")
			}
			status := c.status()
			if status.GetState() != cri.ContainerState_CONTAINER_EXITED || status.GetReason() != test.reason || status.GetExitCode() != test.code || status.GetMessage() == "" {
				n.Errorf("status is %v", status)
			}
			if status.GetFinishedAt() == 0 || status.GetStartedAt() == 0 {
				n.Errorf("the kubelet wants times: started %d, finished %d", status.GetStartedAt(), status.GetFinishedAt())
			}
			failed, before = append(failed, c), append(before, status)
		})
	}
	n.restart(syscall.SIGTERM)
	for i, c := range failed {
		if after := c.in(n).status(); !proto.Equal(after, before[i]) {
			n.Errorf("before a restart %v,\nafter %v", before[i], after)
		}
	}
}

// TestTimesAreTheEngines: the times of a status are at first the daemon's own
// reading, then the engine's, and stay that.
func TestTimesAreTheEngines(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	c := p.create(p.containerConfig(idle))
	engines := c.engine.inspect(c, c.id)
	if created := time.Unix(0, c.status().GetCreatedAt()); created.Sub(engineTime(n, engines.Created)).Abs() > time.Second {
		n.Errorf("created at %s, says the daemon, and %s, says the engine", created, engines.Created)
	}
	c.start()
	engines = c.engine.inspect(c, c.id)
	same := func() bool {
		s := c.status()
		return s.GetCreatedAt() == engineTime(n, engines.Created).UnixNano() && s.GetStartedAt() == engineTime(n, engines.State.StartedAt).UnixNano()
	}
	eventually(n, "the times are the engine's", same)
	n.restart(syscall.SIGTERM)
	if !same() {
		n.Errorf("after a restart: %v", c.status())
	}
}

func engineTime(n *node, text string) time.Time {
	n.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	n.must("read the engine's time", err)
	return at
}

// TestSandboxStates follows a sandbox to its end.
func TestSandboxStates(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	c := p.container(idle)
	first := n.podStatus(p.id)
	if first.GetState() != cri.PodSandboxState_SANDBOX_READY || first.GetCreatedAt() == 0 || first.GetNetwork().GetIp() == "" {
		n.Errorf("status is %v", first)
	}
	n.stopPod(p.id)
	if c.running() {
		n.Error("a container runs in a stopped sandbox")
	}
	stopped := n.podStatus(p.id)
	if stopped.GetState() != cri.PodSandboxState_SANDBOX_NOTREADY || stopped.GetCreatedAt() != first.GetCreatedAt() {
		n.Errorf("status is %v", stopped)
	}
	if n.engine.inspect(n, p.id).State.Running {
		n.Error("the pause process runs in a stopped sandbox")
	}
	if _, err := p.tryCreate(p.containerConfig(idle)); err == nil {
		n.Error("a stopped sandbox takes a container")
	}
}
