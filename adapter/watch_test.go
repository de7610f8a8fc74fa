// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestWhatHappensBehindOurBackShows(t *testing.T) {
	r := newRig(t).watched()
	pod, app := r.runContainer(podConfig("web"), containerConfig("app"))
	r.engine.Exit(app, 42)
	r.eventually("the container's end", func() bool {
		s := r.containerStatus(app)
		return s.State == cri.ContainerState_CONTAINER_EXITED && s.ExitCode == 42
	})
	r.engine.StopBehind(pod)
	r.eventually("the sandbox's end", func() bool { return r.sandboxStatus(pod).State == cri.PodSandboxState_SANDBOX_NOTREADY })
	r.engine.RemoveBehind(app)
	r.eventually("the container's removal", func() bool { return len(r.index.listContainers(nil)) == 0 })
}

func TestRemovedSandboxIsDetached(t *testing.T) {
	r := newRig(t).watched()
	pod := r.runPod(podConfig("web"))
	r.engine.RemoveBehind(pod)
	r.eventually("the address is free", func() bool { return len(r.net.ids()) == 0 })
	if list := r.index.listSandboxes(nil); len(list) > 0 {
		t.Errorf("still listed: %v", list)
	}
}

// Whoever starts a pause container again gives the pod another network
// namespace, which nobody has attached.
func TestRestartedPauseIsNotReady(t *testing.T) {
	r := newRig(t).watched()
	pod := r.runPod(podConfig("web"))
	r.engine.StopBehind(pod)
	if err := r.engine.ContainerStart(t.Context(), pod, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the restart shows", func() bool {
		s := r.sandboxStatus(pod)
		return s.State == cri.PodSandboxState_SANDBOX_NOTREADY && s.Network.Ip == ""
	})
}

func TestRestartOfTheAdapterChangesNothing(t *testing.T) {
	r := newRig(t).watched()
	pod, app := r.runContainer(podConfig("web"), containerConfig("app"))
	node := r.runPod(hostNetworkPod("node"))
	r.eventually("the start's event", func() bool { return r.engine.Count("ContainerInspect") == 3 })

	restarted := newRigOn(t, r.engine, r.net)
	for _, id := range []string{pod, node} {
		if before, after := r.sandboxStatus(id), restarted.sandboxStatus(id); before.String() != after.String() {
			t.Errorf("before %v\nafter  %v", before, after)
		}
	}
	if before, after := r.containerStatus(app), restarted.containerStatus(app); before.String() != after.String() {
		t.Errorf("before %v\nafter  %v", before, after)
	}
}

func TestEngineAway(t *testing.T) {
	r := newRig(t).watched()
	pod, app := r.runContainer(podConfig("web"), containerConfig("app"))
	r.engine.Down()
	r.eventually("the loss is noticed", func() bool { return !r.condition(cri.RuntimeReady).Status })
	if c := r.condition(cri.RuntimeReady); c.Reason == "" || c.Message == "" {
		t.Errorf("condition %v", c)
	}
	if r.sandboxStatus(pod).State != cri.PodSandboxState_SANDBOX_READY || r.containerStatus(app).State != cri.ContainerState_CONTAINER_RUNNING {
		t.Error("reads forgot what was there")
	}
	_, err := r.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: podConfig("second")})
	wantKind(t, err, unreachable)

	r.engine.StopBehind(app)
	r.engine.Up()
	r.eventually("the engine is found again", func() bool { return r.condition(cri.RuntimeReady).Status })
	if r.containerStatus(app).State != cri.ContainerState_CONTAINER_EXITED {
		t.Error("what happened meanwhile is not known")
	}
}

func TestHungEngine(t *testing.T) {
	r := newRig(t).watched()
	pod := r.runPod(podConfig("web"))
	r.engine.Hang()
	if r.sandboxStatus(pod).State != cri.PodSandboxState_SANDBOX_READY {
		t.Error("reads forgot what was there")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	context.AfterFunc(ctx, r.engine.Resume) // for the rollback, which has a deadline of its own
	_, err := r.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: podConfig("second")})
	wantKind(t, err, errdefs.IsDeadlineExceeded)
}

// condition is what Status says.
func (r *rig) condition(name string) *cri.RuntimeCondition {
	r.t.Helper()
	out, err := r.Status(r.t.Context(), &cri.StatusRequest{})
	if err != nil {
		r.t.Fatalf("Status fails: %v", err)
	}
	i := slices.IndexFunc(out.Status.Conditions, func(c *cri.RuntimeCondition) bool { return c.Type == name })
	return out.Status.Conditions[i]
}

func TestForeignContainersAreNotSeen(t *testing.T) {
	r := newRig(t).watched()
	foreign, err := r.engine.ContainerCreate(t.Context(), &container.Config{Image: appRef}, &container.HostConfig{}, nil, nil, "users-own")
	if err != nil {
		t.Fatal(err)
	}
	pod := r.runPod(podConfig("web"))
	r.eventually("events of both have passed", func() bool { return len(r.index.listSandboxes(nil)) == 1 })
	if err := r.removePod(foreign.ID); err != nil {
		t.Error(err)
	}
	if _, err := r.RemoveContainer(t.Context(), &cri.RemoveContainerRequest{ContainerId: foreign.ID}); err != nil {
		t.Error(err)
	}
	if left := r.engine.Leftovers(); !slices.Contains(left, "users-own") {
		t.Errorf("the user's container is gone; left %v, pod %s", left, pod)
	}
}

func TestStaleAnswersAreIgnored(t *testing.T) {
	r := newRig(t)
	pod, app := r.runContainer(podConfig("web"), containerConfig("app"))
	asked := time.Now()
	old, err := r.engine.ContainerInspect(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.StopContainer(t.Context(), &cri.StopContainerRequest{ContainerId: app}); err != nil {
		t.Fatal(err)
	}
	r.index.put(old, asked, r.addressesOf)
	if r.containerStatus(app).State != cri.ContainerState_CONTAINER_EXITED {
		t.Error("an older answer replaced a newer one")
	}
	if err := r.removePod(pod); err != nil {
		t.Fatal(err)
	}
	r.index.put(old, asked, r.addressesOf)
	if list := r.index.listContainers(nil); len(list) > 0 {
		t.Errorf("an older answer brought back what was removed: %v", list)
	}
}

func TestCollectIsToldWhatExists(t *testing.T) {
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	r.watched()
	collected := func() [][]string {
		r.net.mu.Lock()
		defer r.net.mu.Unlock()
		return slices.Clone(r.net.collected)
	}
	r.eventually("the first round", func() bool { return len(collected()) == 1 })
	if ids := collected()[0]; !slices.Equal(ids, []string{pod}) {
		t.Errorf("told %v, want %s", ids, pod)
	}
}

func TestAttachmentsAreChecked(t *testing.T) {
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	r.runPod(hostNetworkPod("node"))
	r.checkAttachments(t.Context())
	if !slices.Equal(r.net.checked, []string{pod}) {
		t.Errorf("checked %v, want %s", r.net.checked, pod)
	}
}

func TestReloadedEngine(t *testing.T) {
	r := newRig(t).watched()
	before := r.node.Load()
	r.engine.Reload()
	r.eventually("the facts are read anew", func() bool { return r.node.Load() != before })
}
