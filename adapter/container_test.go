// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/internal/fakeengine"
)

func TestContainerLife(t *testing.T) {
	r := newRig(t).watched()
	pod := podConfig("web")
	sandbox := r.runPod(pod)
	r.engine.ResetCalls()
	id := r.createContainer(sandbox, pod, containerConfig("app"))
	r.wantCalls("ContainerCreate")
	if s := r.containerStatus(id); s.State != cri.ContainerState_CONTAINER_CREATED || s.CreatedAt == 0 {
		t.Errorf("created: %v", s)
	}

	r.engine.ResetCalls()
	r.startContainer(id)
	if s := r.containerStatus(id); s.State != cri.ContainerState_CONTAINER_RUNNING || s.StartedAt == 0 {
		t.Errorf("started: %v", s)
	}
	r.eventually("the start's event", func() bool { return r.engine.Count("ContainerInspect") == 1 })
	r.wantCalls("ContainerStart", "ContainerInspect")

	r.engine.ResetCalls()
	if _, err := r.StopContainer(t.Context(), &cri.StopContainerRequest{ContainerId: id, Timeout: 5}); err != nil {
		t.Fatal(err)
	}
	s := r.containerStatus(id)
	if s.State != cri.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 || s.FinishedAt < s.StartedAt || s.Reason != "Error" {
		t.Errorf("stopped: %v", s)
	}
	r.wantCalls("ContainerStop", "ContainerInspect")

	r.engine.ResetCalls()
	for range 2 {
		if _, err := r.RemoveContainer(t.Context(), &cri.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
	}
	r.wantCalls("ContainerRemove")
	_, err := r.ContainerStatus(t.Context(), &cri.ContainerStatusRequest{ContainerId: id})
	wantKind(t, err, errdefs.IsNotFound)
}

func TestReadsAskNothing(t *testing.T) {
	r := newRig(t).watched()
	sandbox, id := r.runContainer(podConfig("web"), containerConfig("app"))
	r.eventually("the start's event", func() bool { return r.engine.Count("ContainerInspect") == 2 })
	r.engine.ResetCalls()
	r.sandboxStatus(sandbox)
	r.containerStatus(id)
	for _, read := range []func() error{
		func() error { _, err := r.ListPodSandbox(t.Context(), &cri.ListPodSandboxRequest{}); return err },
		func() error { _, err := r.ListContainers(t.Context(), &cri.ListContainersRequest{}); return err },
		func() error { _, err := r.ListImages(t.Context(), &cri.ListImagesRequest{}); return err },
		func() error { _, err := r.Version(t.Context(), &cri.VersionRequest{}); return err },
		func() error { _, err := r.Status(t.Context(), &cri.StatusRequest{Verbose: true}); return err },
		func() error { _, err := r.RuntimeConfig(t.Context(), &cri.RuntimeConfigRequest{}); return err },
	} {
		if err := read(); err != nil {
			t.Error(err)
		}
	}
	r.wantCalls()
}

func TestCreateContainerAgain(t *testing.T) {
	r := newRig(t)
	pod := podConfig("web")
	sandbox := r.runPod(pod)
	id := r.createContainer(sandbox, pod, containerConfig("app"))
	if again := r.createContainer(sandbox, pod, containerConfig("app")); again != id {
		t.Errorf("%s, then %s", id, again)
	}
	changed := containerConfig("app")
	changed.Args = []string{"other"}
	if next := r.createContainer(sandbox, pod, changed); next == id {
		t.Error("a request with other arguments got the old container")
	}
	if left := r.engine.Leftovers(); len(left) != 2 {
		t.Errorf("containers %v", left)
	}
	r.startContainer(r.createContainer(sandbox, pod, changed))
	_, err := r.CreateContainer(t.Context(), &cri.CreateContainerRequest{PodSandboxId: sandbox, Config: changed, SandboxConfig: pod})
	wantKind(t, err, errdefs.IsAlreadyExists)
}

func TestRefusedContainers(t *testing.T) {
	pod := podConfig("web")
	for name, tt := range map[string]struct {
		spoil func(*cri.CreateContainerRequest)
		is    func(error) bool
	}{
		"no sandbox with id":        {func(r *cri.CreateContainerRequest) { r.PodSandboxId = "0123456789ab" }, errdefs.IsNotFound},
		"config and sandbox_config": {func(r *cri.CreateContainerRequest) { r.SandboxConfig = nil }, errdefs.IsInvalidArgument},
		"config.metadata":           {func(r *cri.CreateContainerRequest) { r.Config.Metadata = nil }, errdefs.IsInvalidArgument},
		"pull it first":             {func(r *cri.CreateContainerRequest) { r.Config.Image.Image = "absent:1" }, errdefs.IsNotFound},
		"config.log_path": {func(r *cri.CreateContainerRequest) {
			r.Config.LogPath, r.SandboxConfig.LogDirectory = "../../x", "/var/log/pods/web"
		}, errdefs.IsInvalidArgument},
		"namespace_options.target": {func(r *cri.CreateContainerRequest) { r.Config.Linux = target("fedcba987654") }, errdefs.IsNotFound},
		"config.mounts[0]": {func(r *cri.CreateContainerRequest) {
			r.Config.Mounts = []*cri.Mount{{ContainerPath: "x", HostPath: "/tmp"}}
		}, errdefs.IsInvalidArgument},
		"Docker Engine 25.0": {func(r *cri.CreateContainerRequest) {
			r.Config.Mounts = []*cri.Mount{{ContainerPath: "/x", HostPath: "/tmp", Readonly: true, RecursiveReadOnly: true}}
		}, errdefs.IsFailedPrecondition},
		"AppArmor is not enabled on": {func(r *cri.CreateContainerRequest) { r.Config.Linux = unloadedAppArmor() }, errdefs.IsFailedPrecondition},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.node.Load().Facts.APIVersion = "1.41"
			r.node.Load().Facts.AppArmor = false
			request := &cri.CreateContainerRequest{PodSandboxId: r.runPod(pod), Config: containerConfig("app"), SandboxConfig: podConfig("web")}
			tt.spoil(request)
			r.engine.ResetCalls()
			_, err := r.CreateContainer(t.Context(), request)
			wantKind(t, err, tt.is)
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error does not say %q: %v", name, err)
			}
			r.wantCalls()
		})
	}
}

func target(id string) *cri.LinuxContainerConfig {
	return &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
		NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_TARGET, TargetId: id},
	}}
}

func unloadedAppArmor() *cri.LinuxContainerConfig {
	return &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
		Apparmor: &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: "unloaded"},
	}}
}

func TestCreateContainerInStoppedSandbox(t *testing.T) {
	r := newRig(t)
	pod := podConfig("web")
	sandbox := r.runPod(pod)
	if err := r.stopPod(sandbox); err != nil {
		t.Fatal(err)
	}
	_, err := r.CreateContainer(t.Context(), &cri.CreateContainerRequest{PodSandboxId: sandbox, Config: containerConfig("app"), SandboxConfig: pod})
	wantKind(t, err, errdefs.IsFailedPrecondition)
}

func TestMissingHostPathIsMade(t *testing.T) {
	r := newRig(t)
	c := containerConfig("app")
	c.Mounts = []*cri.Mount{{ContainerPath: "/data", HostPath: filepath.Join(t.TempDir(), "new", "dir")}}
	r.runContainer(podConfig("web"), c)
	if info, err := os.Stat(c.Mounts[0].HostPath); err != nil || !info.IsDir() {
		t.Errorf("host path: %v", err)
	}
}

func TestStartThatFails(t *testing.T) {
	r := newRig(t).watched()
	pod := podConfig("web")
	sandbox := r.runPod(pod)
	id := r.createContainer(sandbox, pod, containerConfig("app"))
	r.engine.OnStart(func(container.InspectResponse) fakeengine.Process {
		return fakeengine.Process{Error: `exec: "app": executable file not found in $PATH`, ExitCode: 127}
	})
	if _, err := r.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: id}); err == nil || !strings.Contains(err.Error(), "not found in $PATH") {
		t.Errorf("error %v", err)
	}
	s := r.containerStatus(id)
	if s.State != cri.ContainerState_CONTAINER_EXITED || s.ExitCode != 127 || s.Reason != "ContainerCannotRun" || s.Message == "" {
		t.Errorf("status %v", s)
	}
	_, err := r.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: id})
	wantKind(t, err, errdefs.IsFailedPrecondition)
}

// Some engines say NotFound of the sandbox, which is not the container's end.
func TestStartWithoutSandbox(t *testing.T) {
	r := newRig(t)
	pod := podConfig("web")
	sandbox := r.runPod(pod)
	id := r.createContainer(sandbox, pod, containerConfig("app"))
	r.engine.RemoveBehind(sandbox)
	_, err := r.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: id})
	wantKind(t, err, errdefs.IsFailedPrecondition)
}

// The engine may tell of a short container's end before our start returns.
func TestContainerThatEndsAtOnce(t *testing.T) {
	r := newRig(t).watched()
	pod := podConfig("web")
	sandbox := r.runPod(pod)
	r.engine.OnStart(func(container.InspectResponse) fakeengine.Process {
		return fakeengine.Process{Exited: true, ExitCode: 7}
	})
	id := r.createContainer(sandbox, pod, containerConfig("app"))
	r.startContainer(id)
	r.eventually("the container's end", func() bool { return r.containerStatus(id).ExitCode == 7 })
	if s := r.containerStatus(id); s.State != cri.ContainerState_CONTAINER_EXITED || s.Reason != "Error" {
		t.Errorf("status %v", s)
	}
}

func TestOOMKilled(t *testing.T) {
	r := newRig(t).watched()
	_, id := r.runContainer(podConfig("web"), containerConfig("app"))
	r.engine.OOMKill(id)
	r.eventually("the reason", func() bool { return r.containerStatus(id).Reason == "OOMKilled" })
}

// The engine's own flag may come after the end, or not at all.
func TestOOMEventWithoutTheEnginesFlag(t *testing.T) {
	r := newRig(t).watched()
	_, id := r.runContainer(podConfig("web"), containerConfig("app"))
	r.eventually("the start's event", func() bool { return r.engine.Count("ContainerInspect") == 2 })
	r.eventually("the start is taken over", func() bool {
		last, _ := r.index.last(id)
		return last.inspect.State.Pid != 0
	})
	r.index.oomKilled(id)
	r.engine.Exit(id, 137)
	r.eventually("the end", func() bool { return r.containerStatus(id).State == cri.ContainerState_CONTAINER_EXITED })
	if s := r.containerStatus(id); s.Reason != "OOMKilled" || s.ExitCode != 137 {
		t.Errorf("status %v", s)
	}
}

func TestUpdateContainerResources(t *testing.T) {
	r := newRig(t)
	_, id := r.runContainer(podConfig("web"), containerConfig("app"))
	want := &cri.LinuxContainerResources{CpuShares: 512, MemoryLimitInBytes: 64 << 20}
	if _, err := r.UpdateContainerResources(t.Context(), &cri.UpdateContainerResourcesRequest{ContainerId: id, Linux: want}); err != nil {
		t.Fatal(err)
	}
	got := r.containerStatus(id).Resources.Linux
	if got.CpuShares != 512 || got.MemoryLimitInBytes != 64<<20 || got.MemorySwapLimitInBytes != 64<<20 {
		t.Errorf("resources %v", got)
	}
	if _, err := r.UpdateContainerResources(t.Context(), &cri.UpdateContainerResourcesRequest{ContainerId: id}); err != nil {
		t.Errorf("nothing to change: %v", err)
	}
	_, err := r.UpdateContainerResources(t.Context(), &cri.UpdateContainerResourcesRequest{ContainerId: "absent", Linux: want})
	wantKind(t, err, errdefs.IsNotFound)
}

func TestShortIDs(t *testing.T) {
	r := newRig(t)
	sandbox, id := r.runContainer(podConfig("web"), containerConfig("app"))
	if r.containerStatus(id[:8]).Id != id || r.sandboxStatus(sandbox[:8]).Id != sandbox {
		t.Error("a beginning of the id is not enough")
	}
	list, err := r.ListContainers(t.Context(), &cri.ListContainersRequest{Filter: &cri.ContainerFilter{Id: id[:8], PodSandboxId: sandbox}})
	if err != nil || len(list.Containers) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}
