// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (r *rig) stopPod(id string) error {
	_, err := r.StopPodSandbox(r.t.Context(), &cri.StopPodSandboxRequest{PodSandboxId: id})
	return err
}

func (r *rig) removePod(id string) error {
	_, err := r.RemovePodSandbox(r.t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: id})
	return err
}

func TestStopAndRemovePodSandbox(t *testing.T) {
	r := newRig(t).watched()
	pod, app := r.runContainer(podConfig("web"), containerConfig("app"))
	r.eventually("the start's event", func() bool { return r.engine.Count("ContainerInspect") == 2 })
	r.engine.ResetCalls()

	if err := r.stopPod(pod); err != nil {
		t.Fatal(err)
	}
	s := r.sandboxStatus(pod)
	if s.State != cri.PodSandboxState_SANDBOX_NOTREADY || s.Network.Ip != "" {
		t.Errorf("stopped sandbox: %v", s)
	}
	if c := r.containerStatus(app); c.State != cri.ContainerState_CONTAINER_EXITED || c.ExitCode != 137 {
		t.Errorf("container of a stopped sandbox: %v", c)
	}
	// One stop each; the inspects are the watch's, one for each end.
	r.wantCalls("ContainerStop", "ContainerStop", "ContainerInspect", "ContainerInspect")

	r.engine.ResetCalls()
	if err := r.removePod(pod); err != nil {
		t.Fatal(err)
	}
	r.wantCalls("ContainerRemove", "ContainerRemove")
	if left := r.engine.Leftovers(); len(left) > 0 || len(r.net.ids()) > 0 {
		t.Errorf("left %v, attached %v", left, r.net.ids())
	}
}

func TestStopAndRemoveAgain(t *testing.T) {
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	for range 2 {
		if err := r.stopPod(pod); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := r.removePod(pod); err != nil {
			t.Error(err)
		}
	}
	if err := r.stopPod(pod); err != nil {
		t.Error(err)
	}
}

// An address must not leak because somebody removed the pause container.
func TestStopPodSandboxThatIsGoneDetaches(t *testing.T) {
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	r.index.remove(pod, r.index.sandboxes[pod].at)
	if err := r.stopPod(pod); err != nil || len(r.net.ids()) > 0 {
		t.Errorf("error %v, attached %v", err, r.net.ids())
	}
}

func TestStopPodSandboxStopsThoughNetworkFails(t *testing.T) {
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	r.net.failAt = len(r.net.calls) + 1
	if err := r.stopPod(pod); err == nil {
		t.Error("the failure was not reported")
	}
	if r.sandboxStatus(pod).State != cri.PodSandboxState_SANDBOX_NOTREADY {
		t.Error("the pause container still runs")
	}
	if err := r.stopPod(pod); err != nil || len(r.net.ids()) > 0 {
		t.Errorf("second try: error %v, attached %v", err, r.net.ids())
	}
}

func TestStopPodSandboxGivesUpWithItsCaller(t *testing.T) {
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	unlock, err := r.pods.lock(t.Context(), keyOf(podConfig("web").Metadata))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod}); err == nil {
		t.Error("it did not wait for the pod's lock")
	}
}
