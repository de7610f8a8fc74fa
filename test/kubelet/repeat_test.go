// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A kubelet repeats what it got no answer to, and several of its loops may ask
// for the same at once. CRI says that stops and removals always succeed on what
// is stopped or gone; of the others the tests want that a repetition changes
// nothing, whether it succeeds or not, and log what it says.

// TestRunPodSandboxAgain: one sandbox, however often it is asked for.
func TestRunPodSandboxAgain(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	id, err := k.tryPod("", p.config)
	k.wantSame("RunPodSandbox again", p.id, id, err)
	k.wantOnePod(p)

	config := podConfig(k.TempDir())
	k.must("make the log directory", os.MkdirAll(config.GetLogDirectory(), 0o755))
	ids := make(chan string, atOnce)
	said := together(func() error {
		r, err := k.runtime.RunPodSandbox(k.Context(), &cri.RunPodSandboxRequest{Config: config})
		if err == nil {
			ids <- r.GetPodSandboxId()
		}
		return err
	})
	close(ids)
	other := &pod{k, k.wantOneID("RunPodSandbox", ids, said), config}
	k.Cleanup(func() { k.must("remove the pod", k.removePod(context.Background(), other.id)) })
	k.wantOnePod(other)
	k.must("StopPodSandbox", other.stop())
	k.must("RemovePodSandbox", other.remove())
	if id, err := k.tryPod("", config); err != nil || id == other.id {
		k.Errorf("RunPodSandbox after the removal: %s, %v", id, err)
	}
}

// wantSame checks the answer to a repetition that makes things.
func (k *kubelet) wantSame(what, want, got string, err error) {
	k.Helper()
	k.Logf("%s: %v", what, err)
	if err == nil && got != want {
		k.Errorf("%s made %s, and there was %s", what, got, want)
	}
}

// wantOneID is the id that all successful calls of several at once gave out.
func (k *kubelet) wantOneID(what string, ids <-chan string, said []error) (id string) {
	k.Helper()
	k.Logf("%s: %d of %d calls at once succeeded", what, successes(said), len(said))
	for other := range ids {
		if id != "" && other != id {
			k.Errorf("%s made %s and %s", what, id, other)
		}
		id = other
	}
	if id == "" {
		k.Fatalf("%s: none of the calls at once succeeded: %v", what, errors.Join(said...))
	}
	return id
}

// wantOnePod looks for the sandboxes of a pod.
func (k *kubelet) wantOnePod(p *pod) {
	k.Helper()
	var found []string
	for _, other := range k.listPods(nil) {
		if other.GetMetadata().GetUid() == p.config.GetMetadata().GetUid() {
			found = append(found, other.GetId()+" "+other.GetState().String())
		}
	}
	if want := p.id + " " + cri.PodSandboxState_SANDBOX_READY.String(); len(found) != 1 || found[0] != want {
		k.Errorf("the pod's sandboxes are %q, want %s", found, want)
	}
}

// TestCreateContainerAgain: one container, however often it is asked for.
func TestCreateContainerAgain(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	c := p.create(idle)
	id, err := p.tryCreate(c.config)
	k.wantSame("CreateContainer again", c.id, id, err)

	config := containerConfig(p.config, idle)
	ids := make(chan string, atOnce)
	said := together(func() error {
		id, err := p.tryCreate(config)
		if err == nil {
			ids <- id
		}
		return err
	})
	close(ids)
	other := &container{p, k.wantOneID("CreateContainer", ids, said), config}
	k.must("StartContainer", other.start())
	_, err = p.tryCreate(config)
	k.Logf("CreateContainer of one that runs: %v", err)
	other.wantState("after that", cri.ContainerState_CONTAINER_RUNNING)
	if list := k.listContainers(&cri.ContainerFilter{PodSandboxId: p.id}); len(list) != 2 {
		k.Errorf("the pod's containers are %v, want two", list)
	}
	k.must("remove the pod", k.removePod(k.Context(), p.id))
	_, err = p.tryCreate(containerConfig(p.config, idle))
	k.wantCode("CreateContainer in a pod that is gone", err, codes.NotFound)
}

// counted is a script that leaves a line in a file at each of its starts.
func counted(dir string) (script string, edit func(*cri.ContainerConfig)) {
	return "echo started >>/count/starts; " + idle, func(c *cri.ContainerConfig) {
		c.Mounts = []*cri.Mount{{HostPath: dir, ContainerPath: "/count"}}
	}
}

func (k *kubelet) starts(dir string) int {
	k.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "starts"))
	if os.IsNotExist(err) {
		return 0
	}
	k.must("count starts", err)
	return strings.Count(string(text), "\n")
}

// TestStartContainerAgain: whatever is said, it is started once.
func TestStartContainerAgain(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	dir := k.TempDir()
	script, edit := counted(dir)
	c := p.create(script, edit)
	said := together(c.start)
	if successes(said) == 0 {
		k.Fatalf("none of the calls at once succeeded: %v", errors.Join(said...))
	}
	k.Logf("StartContainer: %d of %d calls at once succeeded", successes(said), len(said))
	eventually(k, "the container starts", func() bool { return k.starts(dir) > 0 })
	started := c.status().GetStartedAt()
	k.Logf("StartContainer of one that runs: %v", c.start())
	if c.wantState("after that", cri.ContainerState_CONTAINER_RUNNING); c.status().GetStartedAt() != started {
		k.Error("it was started anew")
	}
	k.must("StopContainer", c.stop(5))
	ended := c.status()
	err := c.start()
	k.Logf("StartContainer of one that has ended: %v", err)
	if now := c.status(); err == nil || !proto.Equal(now, ended) {
		k.Errorf("StartContainer of one that has ended: %v, and now it is %v", err, now)
	}
	k.must("RemoveContainer", c.remove())
	k.wantCode("StartContainer of one that is gone", c.start(), codes.NotFound)
	if starts := k.starts(dir); starts != 1 {
		k.Errorf("it was started %d times", starts)
	}
}

// TestStopContainerAgain, in every state that a container can be in.
func TestStopContainerAgain(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	stop := func() error { return p.create(idle).stop(5) }
	k.must("StopContainer of one that was never started", stop())

	c := p.container(idle)
	k.must("StopContainer, ten at once", allOf(together(func() error { return c.stop(5) })))
	c.wantState("after ten at once", cri.ContainerState_CONTAINER_EXITED)
	ended := c.status()
	k.must("StopContainer again", c.stop(5))
	k.must("StopContainer, without grace", c.stop(0))
	if now := c.status(); !proto.Equal(now, ended) {
		k.Errorf("stops of a stopped container made %v of %v", now, ended)
	}
	k.must("RemoveContainer", c.remove())
	k.must("StopContainer of one that is gone", c.stop(5))
	k.must("StopContainer of one that is gone, ten at once", allOf(together(func() error { return c.stop(5) })))
}

// TestRemoveContainerAgain, of one that was never started, that runs, that has
// ended, and that is gone.
func TestRemoveContainerAgain(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	ended := p.container("true")
	ended.awaitExit()
	for name, c := range map[string]*container{"never started": p.create(idle), "running": p.container(idle), "ended": ended} {
		k.sub(name, func(k *kubelet) {
			c := c.in(k)
			k.must("RemoveContainer, ten at once", allOf(together(c.remove)))
			k.must("RemoveContainer again", c.remove())
			if list := k.listContainers(&cri.ContainerFilter{Id: c.id}); len(list) > 0 {
				k.Errorf("it is still in the list: %v", list)
			}
			_, err := k.runtime.ContainerStatus(k.Context(), &cri.ContainerStatusRequest{ContainerId: c.id})
			k.wantCode("ContainerStatus", err, codes.NotFound)
		})
	}
}

// TestStopAndRemoveAtOnce: the kubelet's loops for pods and for garbage.
func TestStopAndRemoveAtOnce(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	c := p.container(idle)
	calls := make(chan func() error, atOnce)
	for range atOnce / 5 {
		for _, call := range []func() error{func() error { return c.stop(5) }, c.remove, p.stop, p.remove, func() error {
			_, err := k.runtime.ContainerStatus(k.Context(), &cri.ContainerStatusRequest{ContainerId: c.id})
			if status.Code(err) == codes.NotFound {
				return nil
			}
			return err
		}} {
			calls <- call
		}
	}
	k.must("stops and removals at once", allOf(together(func() error { return (<-calls)() })))
	k.must("remove the pod", k.removePod(k.Context(), p.id))
}

// TestStopPodSandboxAgain, with a container that must end.
func TestStopPodSandboxAgain(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	c := p.container(idle)
	k.must("StopPodSandbox, ten at once", allOf(together(p.stop)))
	if got := p.status().GetState(); got != cri.PodSandboxState_SANDBOX_NOTREADY {
		k.Errorf("the sandbox is %s", got)
	}
	c.wantState("after StopPodSandbox", cri.ContainerState_CONTAINER_EXITED)
	k.must("StopPodSandbox again", p.stop())
	k.must("RemovePodSandbox", p.remove())
	k.must("StopPodSandbox of one that is gone", p.stop())
	k.must("StopPodSandbox of one that is gone, ten at once", allOf(together(p.stop)))
}

// TestRemovePodSandboxAgain, of one that runs with a container.
func TestRemovePodSandboxAgain(t *testing.T) {
	k := newKubelet(t)
	for name, before := range map[string]func(*pod) error{"stopped": (*pod).stop, "running": func(*pod) error { return nil }} {
		k.sub(name, func(k *kubelet) {
			p := k.pod()
			c := p.container(idle)
			k.must("before", before(p))
			k.must("RemovePodSandbox, ten at once", allOf(together(p.remove)))
			k.must("RemovePodSandbox again", p.remove())
			_, err := k.runtime.PodSandboxStatus(k.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
			k.wantCode("PodSandboxStatus", err, codes.NotFound)
			if list := k.listContainers(&cri.ContainerFilter{Id: c.id}); len(list) > 0 {
				k.Errorf("its container is still there: %v", list)
			}
		})
	}
}

// TestUpdateContainerResourcesAgain: the same limits, and those of one of the
// calls where they differ.
func TestUpdateContainerResourcesAgain(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	c := p.container(idle)
	asked := &cri.LinuxContainerResources{MemoryLimitInBytes: 64 * mebibyte, CpuShares: 512}
	update := func() error { return c.update(asked) }
	k.must("UpdateContainerResources", update())
	first := c.status().GetResources()
	k.must("UpdateContainerResources again", update())
	k.must("UpdateContainerResources, ten at once", allOf(together(update)))
	if now := c.status().GetResources(); !proto.Equal(now, first) || now.GetLinux().GetMemoryLimitInBytes() != 64*mebibyte {
		k.Errorf("the limits are %v, and were %v", now, first)
	}
	k.must("StopContainer", c.stop(5))
	k.Logf("UpdateContainerResources of one that has ended: %v", update())
	k.must("RemoveContainer", c.remove())
	k.wantCode("UpdateContainerResources of one that is gone", update(), codes.NotFound)
}

// TestUpdatePodSandboxResourcesAgain. The kubelet takes any error but
// Unimplemented for a refusal of the resize.
func TestUpdatePodSandboxResourcesAgain(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	update := func() error {
		_, err := k.runtime.UpdatePodSandboxResources(k.Context(), &cri.UpdatePodSandboxResourcesRequest{
			PodSandboxId: p.id, Overhead: &cri.LinuxContainerResources{}, Resources: &cri.LinuxContainerResources{CpuShares: 512},
		})
		if status.Code(err) == codes.Unimplemented {
			return nil
		}
		return err
	}
	k.must("UpdatePodSandboxResources", update())
	k.must("UpdatePodSandboxResources again", update())
	k.must("UpdatePodSandboxResources, ten at once", allOf(together(update)))
	k.must("remove the pod", k.removePod(k.Context(), p.id))
	k.Logf("UpdatePodSandboxResources of one that is gone: %v", update())
}

// TestReopenContainerLogAgain: after the kubelet has moved the file away.
func TestReopenContainerLogAgain(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	c := p.container("while true; do echo line; sleep 0.1; done")
	reopen := func() error {
		_, err := k.runtime.ReopenContainerLog(k.Context(), &cri.ReopenContainerLogRequest{ContainerId: c.id})
		return err
	}
	path := c.status().GetLogPath()
	c.awaitLog("line\n")
	k.must("move the log away", os.Rename(path, path+".1"))
	k.must("ReopenContainerLog", reopen())
	c.awaitLog("line\n")
	k.must("ReopenContainerLog again", reopen())
	k.must("ReopenContainerLog, ten at once", allOf(together(reopen)))
	before := len(c.log())
	eventually(k, "the log goes on", func() bool { return len(c.log()) > before })

	k.must("StopContainer", c.stop(0))
	k.must("move the log away", os.Rename(path, path+".2"))
	err := reopen()
	k.Logf("ReopenContainerLog of one that has ended: %v", err)
	if _, missing := os.Stat(path); err != nil && missing == nil {
		k.Error("it fails, and makes a file")
	}
	k.must("RemoveContainer", c.remove())
	k.wantCode("ReopenContainerLog of one that is gone", reopen(), codes.NotFound)
}

// TestPullImageAgain: equal pulls share what they fetch, or wait for each other.
func TestPullImageAgain(t *testing.T) {
	k := newKubelet(t)
	k.publishNew("kubelet/again:1", "to be pulled often")
	ref := suite.registry.ref("kubelet/again:1")
	ids := make(chan string, atOnce)
	k.must("PullImage, ten at once", allOf(together(func() error {
		r, err := k.images.PullImage(k.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}})
		ids <- r.GetImageRef()
		return err
	})))
	close(ids)
	id := k.pull(ref)
	for other := range ids {
		if other != id {
			k.Errorf("one of the pulls gave %s, another %s", other, id)
		}
	}
	remove := func() error { return k.removeImage(context.Background(), id) }
	k.must("RemoveImage, ten at once", allOf(together(remove)))
	k.must("RemoveImage again", remove())
	k.must("RemoveImage by a name that is gone", k.removeImage(k.Context(), ref))
	if i := k.image(ref); i != nil {
		k.Errorf("it is still there: %v", i)
	}
}

// TestUpdateRuntimeConfigAgain tells the range that the pods have anyway.
func TestUpdateRuntimeConfigAgain(t *testing.T) {
	k := newKubelet(t)
	for _, cidr := range []string{"", "10.244.0.0/24"} {
		update := func() error {
			_, err := k.runtime.UpdateRuntimeConfig(k.Context(), &cri.UpdateRuntimeConfigRequest{
				RuntimeConfig: &cri.RuntimeConfig{NetworkConfig: &cri.NetworkConfig{PodCidr: cidr}},
			})
			return err
		}
		k.must("UpdateRuntimeConfig", update())
		k.must("UpdateRuntimeConfig again", update())
		k.must("UpdateRuntimeConfig, ten at once", allOf(together(update)))
	}
	k.must("after that", k.awaitReady(k.Context()))
}
