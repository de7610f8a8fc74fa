// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/internal/fakeengine"
)

// life is a pod's life, step by step. Each step may be repeated.
type life struct {
	*rig
	pod       *cri.PodSandboxConfig
	sandbox   string
	container string
}

func (l *life) steps() []func(context.Context) error {
	return []func(context.Context) error{
		func(ctx context.Context) error {
			out, err := l.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: l.pod})
			l.sandbox = out.GetPodSandboxId()
			return err
		},
		func(ctx context.Context) error {
			out, err := l.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: l.sandbox, Config: demanding("app"), SandboxConfig: l.pod})
			l.container = out.GetContainerId()
			return err
		},
		func(ctx context.Context) error {
			_, err := l.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: l.container})
			return err
		},
		func(ctx context.Context) error {
			_, err := l.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: l.container, Timeout: 1})
			return err
		},
		func(ctx context.Context) error {
			_, err := l.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: l.container})
			return err
		},
		func(ctx context.Context) error {
			_, err := l.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: l.sandbox})
			return err
		},
		func(ctx context.Context) error {
			_, err := l.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: l.sandbox})
			return err
		},
	}
}

// fault strikes at the n-th call of a life and reports whether the life is that
// long.
type walkFault struct {
	name string
	set  func(r *rig, n int, cancel context.CancelFunc)
	long func(r *rig, n int) bool
}

var errFault = errors.New("fault of the test")

func engineCalls(r *rig, n int) bool  { return len(r.engine.Calls()) >= n }
func networkCalls(r *rig, n int) bool { return len(r.net.calls) >= n }
func nodeCalls(r *rig, n int) bool    { return r.cg.calls >= n }

var walkFaults = []walkFault{
	{"engine fails before the call", func(r *rig, n int, _ context.CancelFunc) { r.engine.FailNth(n, fakeengine.Before, errFault) }, engineCalls},
	{"engine's answer is lost", func(r *rig, n int, _ context.CancelFunc) { r.engine.FailNth(n, fakeengine.After, errFault) }, engineCalls},
	{"caller leaves before the engine's call", func(r *rig, n int, c context.CancelFunc) { r.engine.CancelNth(n, fakeengine.Before, c) }, engineCalls},
	{"caller leaves after the engine's call", func(r *rig, n int, c context.CancelFunc) { r.engine.CancelNth(n, fakeengine.After, c) }, engineCalls},
	{"network fails before the call", func(r *rig, n int, _ context.CancelFunc) { r.net.failAt = n }, networkCalls},
	{"network fails after the call", func(r *rig, n int, _ context.CancelFunc) { r.net.failAt, r.net.after = n, true }, networkCalls},
	{"the node fails", func(r *rig, n int, _ context.CancelFunc) { r.cg.failAt = n }, nodeCalls},
	{"caller leaves in the network's call", func(r *rig, n int, c context.CancelFunc) { r.net.failAt, r.net.cancel = n, c }, networkCalls},
}

// TestFailureWalk lets each kind of fault strike at the first call of a pod's
// life, at the second, ... at the last: the step that was struck leaves nothing
// behind, its retry succeeds, and so does the rest of the life.
func TestFailureWalk(t *testing.T) {
	for _, f := range walkFaults {
		for _, pod := range []*cri.PodSandboxConfig{podConfig("web"), hostNetworkPod("node")} {
			t.Run(f.name+"/"+pod.Metadata.Name, func(t *testing.T) {
				for n := 1; walk(t, f, n, pod); n++ {
				}
			})
		}
	}
}

// walk lives one life with a fault at the n-th call. It tells whether the life
// was long enough for that.
func walk(t *testing.T, f walkFault, n int, pod *cri.PodSandboxConfig) (struck bool) {
	t.Helper()
	r := newRig(t)
	l := &life{rig: r, pod: pod}
	for i, step := range l.steps() {
		before := l.leftovers()
		ctx, cancel := context.WithCancel(t.Context())
		l.arm(f, n, cancel)
		err := step(ctx)
		cancel()
		if err == nil {
			continue
		}
		if i < 2 && l.leftovers() != before {
			t.Errorf("fault %d: step %d left %s; it failed with: %v", n, i, l.leftovers(), err)
		}
		if i == 2 && l.ended() { // a container that was killed by its start cannot be started again
			if err := l.steps()[i-1](t.Context()); err != nil {
				t.Errorf("fault %d: the container cannot be replaced: %v", n, err)
			}
		}
		if err := step(t.Context()); err != nil {
			t.Errorf("fault %d: step %d cannot be repeated: %v", n, i, err)
		}
	}
	if left := l.leftovers(); left != nothingLeft {
		t.Errorf("fault %d: left behind %s", n, left)
	}
	if list, _ := r.ListContainers(t.Context(), &cri.ListContainersRequest{}); len(list.Containers) > 0 {
		t.Errorf("fault %d: the index still shows %v", n, list.Containers)
	}
	return f.long(r, n)
}

// ended tells whether a start has failed so that the container is dead now.
func (l *life) ended() bool {
	c, err := l.index.container(l.container)
	return err == nil && c.status.State == cri.ContainerState_CONTAINER_EXITED && c.status.ExitCode == 137
}

// leftovers are what the engine, the network and the node hold.
func (l *life) leftovers() string {
	return fmt.Sprint(l.engine.Leftovers(), l.net.ids(), l.stages.keys(), l.cg.kept)
}

const nothingLeft = "[] [] [] map[]"

// arm sets the fault anew for each step, since cancelling is the step's own; a
// fault that has struck is not set again.
func (l *life) arm(f walkFault, n int, cancel context.CancelFunc) {
	if !f.long(l.rig, n) {
		f.set(l.rig, n, cancel)
	}
}
