// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// snapshot is all that lists and statuses say, in the wire format; times at
// which an answer was given are left out.
func (n *node) snapshot() []byte {
	n.Helper()
	var all []proto.Message
	for _, p := range n.listPods(nil) {
		r, err := n.runtime.PodSandboxStatus(n.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: p.GetId()})
		n.must("PodSandboxStatus", err)
		r.Timestamp = 0
		slices.SortFunc(r.ContainersStatuses, func(a, b *cri.ContainerStatus) int { return strings.Compare(a.GetId(), b.GetId()) })
		all = append(all, p, r)
	}
	for _, c := range n.listContainers(nil) {
		r, err := n.runtime.ContainerStatus(n.Context(), &cri.ContainerStatusRequest{ContainerId: c.GetId()})
		n.must("ContainerStatus", err)
		all = append(all, c, r)
	}
	for _, i := range n.listImages(nil) {
		all = append(all, i)
	}
	var out []byte
	for _, m := range all {
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		n.must("marshal", err)
		out = append(append(out, text...), '\n')
	}
	return out
}

// TestRestart: for the kubelet it is as if nothing had happened.
func TestRestart(t *testing.T) {
	n := newNode(t)
	p, onHost := n.pod(), n.pod(onHostNetwork)
	runs := p.container(idle)
	alsoRuns := onHost.container(idle)
	ended := p.container("exit 3")
	ended.awaitExit()
	stopped := n.pod()
	n.stopPod(stopped.id)
	pids := func() string {
		return fmt.Sprint(n.engine.inspect(n, p.id).State.Pid, n.engine.inspect(n, runs.id).State.Pid, n.engine.inspect(n, alsoRuns.id).State.Pid)
	}
	// Until the engine's events have come, times are the daemon's own.
	eventually(n, "the times of the container are the engine's", func() bool {
		return time.Unix(0, runs.status().GetStartedAt()).Equal(engineTime(n, n.engine.inspect(n, runs.id).State.StartedAt)) &&
			time.Unix(0, alsoRuns.status().GetStartedAt()).Equal(engineTime(n, n.engine.inspect(n, alsoRuns.id).State.StartedAt))
	})
	before, objects, processes := n.snapshot(), n.inventory(), pids()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		n.restart(signal)
		if after := n.snapshot(); !bytes.Equal(before, after) {
			n.Errorf("after %s the answers differ:\n%q\n%q", signal, before, after)
		}
		n.wantInventory(objects)
		if after := pids(); after != processes {
			n.Errorf("after %s the processes are %s, were %s", signal, after, processes)
		}
	}
	// What was made before is still usable and removable.
	if got := p.output("echo more"); got != "more\n" {
		n.Errorf("a new container says %q", got)
	}
}

// TestKilledWhileRunningPods kills the daemon at random moments of
// RunPodSandbox. The kubelet asks again, and there must be one sandbox then.
func TestKilledWhileRunningPods(t *testing.T) {
	n := newNode(t)
	random := randomMoments(t, 450*time.Millisecond)
	for round := range 20 {
		config := n.podConfig(func(c *cri.PodSandboxConfig) {
			c.PortMappings = []*cri.PortMapping{{ContainerPort: 80, HostPort: int32(20000 + round)}}
		})
		after := random()
		n.killedAfter(after, func(runtime cri.RuntimeServiceClient) {
			_, _ = runtime.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: config})
		})
		p := n.run(config)
		if !p.ready() || p.address() == "" {
			n.Errorf("round %d, killed after %s: %v", round, after, n.podStatus(p.id))
		}
		if objects := n.engine.named(n, config.GetMetadata().GetUid()); len(objects) != 1 || len(n.listPods(nil)) != 1 {
			n.Errorf("round %d, killed after %s: %d containers, sandboxes %v", round, after, len(objects), n.listPods(nil))
		}
		n.removePod(p.id)
	}
}

// TestKilledWhileRemovingPods does the same to RemovePodSandbox; nothing must
// be left once the kubelet has asked again.
func TestKilledWhileRemovingPods(t *testing.T) {
	n := newNode(t)
	random := randomMoments(t, 250*time.Millisecond)
	for round := range 10 {
		before := n.inventory()
		p := n.pod(withHostPort)
		p.container(idle)
		after := random()
		n.killedAfter(after, func(runtime cri.RuntimeServiceClient) {
			_, _ = runtime.RemovePodSandbox(t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: p.id})
		})
		n.removePod(p.id)
		if left := n.inventory(); len(left) != len(before) {
			n.Errorf("round %d, killed after %s: left are %q, before the pod there were %q", round, after, left, before)
		}
	}
}

// randomMoments draws moments from a seed that the test's log tells.
func randomMoments(t *testing.T, longest time.Duration) func() time.Duration {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	return func() time.Duration { return time.Duration(random.Int64N(int64(longest))) }
}

// killedAfter makes a call and kills the daemon in the middle of it, then starts
// the daemon again.
func (n *node) killedAfter(d time.Duration, call func(cri.RuntimeServiceClient)) {
	n.Helper()
	ended := make(chan struct{})
	runtime := n.runtime
	go func() {
		defer close(ended)
		call(runtime)
	}()
	<-time.After(d)
	n.restart(syscall.SIGKILL)
	<-ended
}

// TestKilledBetweenCalls: each call of a pod's life is answered by another
// process than the one before.
func TestKilledBetweenCalls(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	n.restart(syscall.SIGKILL)
	again, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: p.config})
	if err != nil || again.GetPodSandboxId() != p.id {
		n.Errorf("RunPodSandbox again: %v, %v; want %s", again, err, p.id)
	}
	address := p.address()
	config := p.containerConfig("echo written; " + idle)
	c := p.create(config)
	n.restart(syscall.SIGKILL)
	if id, err := p.tryCreate(config); err != nil || id != c.id {
		n.Errorf("CreateContainer again: %s, %v; want %s", id, err, c.id)
	}
	c.start()
	n.restart(syscall.SIGKILL)
	c.awaitLog("written")
	if p.address() != address {
		n.Errorf("the address was %s and is %s", address, p.address())
	}
	c.stop(5)
	n.restart(syscall.SIGKILL)
	if s := c.status(); s.GetState() != cri.ContainerState_CONTAINER_EXITED || s.GetExitCode() != 0 {
		n.Errorf("status is %v", s)
	}
	c.remove()
	n.restart(syscall.SIGKILL)
	n.stopPod(p.id)
	n.restart(syscall.SIGKILL)
	if p.ready() {
		n.Error("a stopped sandbox is ready")
	}
	n.removePod(p.id)
}
