// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestRepeatedCalls: the kubelet repeats a call whose answer it did not get.
func TestRepeatedCalls(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	again, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: p.config})
	if err != nil || again.GetPodSandboxId() != p.id {
		n.Errorf("RunPodSandbox again: %v, %v; want %s", again, err, p.id)
	}
	config := p.containerConfig(idle)
	c := p.create(config)
	if id, err := p.tryCreate(config); err != nil || id != c.id {
		n.Errorf("CreateContainer again: %s, %v; want %s", id, err, c.id)
	}
	c.start()
	c.start()
	_, err = p.tryCreate(config)
	n.wantCode("CreateContainer of one that runs", err, codes.AlreadyExists)
	if objects := len(n.engine.named(n, p.config.GetMetadata().GetUid())); objects != 2 {
		n.Errorf("%d containers in the engine, want the sandbox's and one more", objects)
	}
	for range 2 {
		c.stop(5)
	}
	if _, err := n.runtime.StartContainer(n.Context(), &cri.StartContainerRequest{ContainerId: c.id}); err == nil {
		n.Error("a container that has ended is started again")
	}
	for range 2 {
		c.remove()
	}
	for range 2 {
		n.stopPod(p.id)
	}
	for range 2 {
		n.removePod(p.id)
	}
}

// TestReplacement: an ended container of the same name and attempt, and a
// sandbox that is not ready, give way.
func TestReplacement(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	config := p.containerConfig("true")
	first := p.create(config)
	first.start()
	first.awaitExit()
	second := p.create(config)
	if second.id == first.id {
		n.Error("a container that has ended was given out again")
	}
	other := proto.Clone(config).(*cri.ContainerConfig)
	other.Args = []string{"false"}
	if third := p.create(other); third.id == second.id {
		n.Error("a container of another configuration was given out")
	}
	n.stopPod(p.id)
	again := n.run(p.config)
	if again.id == p.id || !again.ready() {
		n.Errorf("after a stop, %s is given out again", again.id)
	}
	if list := n.listPods(nil); len(list) != 1 {
		n.Errorf("sandboxes are %v", list)
	}
	changed := proto.Clone(p.config).(*cri.PodSandboxConfig)
	changed.Labels = map[string]string{"changed": "yes"}
	_, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: changed})
	n.wantCode("another sandbox of the same name", err, codes.AlreadyExists)
}

// TestGoneObjects: what is gone is stopped and removed already, and has no
// status.
func TestGoneObjects(t *testing.T) {
	n := newNode(t)
	gone := n.pod()
	c := gone.container(idle)
	n.removePod(gone.id)
	ctx := n.Context()
	for _, id := range []struct{ pod, container string }{
		{gone.id, c.id}, {strings.Repeat("f", 64), strings.Repeat("e", 64)}, {"nonsense", "nonsense"},
	} {
		_, stopPod := n.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id.pod})
		_, removePod := n.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id.pod})
		_, stop := n.runtime.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: id.container})
		_, remove := n.runtime.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: id.container})
		for what, err := range map[string]error{"StopPodSandbox": stopPod, "RemovePodSandbox": removePod, "StopContainer": stop, "RemoveContainer": remove} {
			n.wantCode(what+" "+id.pod, err, codes.OK)
		}
		_, podStatus := n.runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: id.pod})
		_, status := n.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id.container})
		_, start := n.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: id.container})
		_, update := n.runtime.UpdateContainerResources(ctx, &cri.UpdateContainerResourcesRequest{ContainerId: id.container, Linux: &cri.LinuxContainerResources{}})
		for what, err := range map[string]error{"PodSandboxStatus": podStatus, "ContainerStatus": status, "StartContainer": start, "UpdateContainerResources": update} {
			n.wantCode(what+" "+id.pod, err, codes.NotFound)
		}
	}
}

// TestForeignContainers: a name that somebody else's container has is reported,
// and that container left alone.
func TestForeignContainers(t *testing.T) {
	n := newNode(t)
	n.sub("of a sandbox", func(n *node) {
		config := n.podConfig()
		meta := config.GetMetadata()
		foreign := n.engine.foreign(n.T, "k8s_POD_"+meta.Name+"_"+meta.Namespace+"_"+meta.Uid+"_0")
		_, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: config})
		n.wantForeign(foreign, err)
	})
	n.sub("of a container", func(n *node) {
		p := n.pod()
		config, meta := p.containerConfig(idle), p.config.GetMetadata()
		foreign := n.engine.foreign(n.T, "k8s_"+config.GetMetadata().GetName()+"_"+meta.Name+"_"+meta.Namespace+"_"+meta.Uid+"_0")
		_, err := p.tryCreate(config)
		n.wantForeign(foreign, err)
	})
	n.sub("are not the daemon's to stop", func(n *node) {
		foreign := n.engine.foreign(n.T, "somebody-elses")
		_, err := n.runtime.StopContainer(n.Context(), &cri.StopContainerRequest{ContainerId: foreign})
		n.must("StopContainer", err)
		_, err = n.runtime.RemoveContainer(n.Context(), &cri.RemoveContainerRequest{ContainerId: foreign})
		n.must("RemoveContainer", err)
		_, err = n.runtime.RemovePodSandbox(n.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: foreign})
		n.must("RemovePodSandbox", err)
		if !n.engine.inspect(n, foreign).State.Running {
			n.Error("it was stopped")
		}
	})
}

func (n *node) wantForeign(id string, err error) {
	n.Helper()
	message := n.wantCode("the name is taken", err, codes.AlreadyExists)
	if !strings.Contains(message, id) || !strings.Contains(message, "remove or rename it") {
		n.Errorf("message %q does not say whose and what to do", message)
	}
	if !n.engine.inspect(n, id).State.Running {
		n.Error("the other's container does not run any more")
	}
}
