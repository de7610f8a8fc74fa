// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/adapter/pauseimage"
	"github.com/dockershimd/dockershimd/internal/fakeengine"
)

func TestRunPodSandbox(t *testing.T) {
	r := newRig(t).watched()
	pod := podConfig("web")
	pod.DnsConfig = &cri.DNSConfig{Servers: []string{"192.0.2.1"}, Searches: []string{"a.example"}}
	pod.PortMappings = []*cri.PortMapping{{ContainerPort: 80, HostPort: 8080}}
	id := r.runPod(pod)

	r.wantCalls("ContainerCreate", "ContainerStart", "ContainerInspect")
	s := r.sandboxStatus(id)
	if s.State != cri.PodSandboxState_SANDBOX_READY || s.Network.Ip != "192.0.2.7" || len(s.Network.AdditionalIps) != 1 {
		t.Errorf("status %v", s)
	}
	attached := r.net.attached[id]
	if attached.Name != "web" || attached.Namespace != "default" || attached.UID != "uid-web" || len(attached.PortMappings) != 1 || attached.PID == 0 {
		t.Errorf("attached as %+v", attached)
	}
	if got := r.resolvConf(id); got != "search a.example\nnameserver 192.0.2.1\n" {
		t.Errorf("resolv.conf %q", got)
	}
}

// resolvConf is what the sandbox's containers see.
func (r *rig) resolvConf(id string) string {
	r.t.Helper()
	c, err := r.engine.ContainerInspect(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := os.ReadFile(c.ResolvConfPath)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

func TestPodWithoutDNSGetsTheNodes(t *testing.T) {
	r := newRig(t)
	if got := r.resolvConf(r.runPod(podConfig("web"))); got != "nameserver 192.0.2.53\n" {
		t.Errorf("resolv.conf %q", got)
	}
}

func TestHostNetworkPodIsNotAttached(t *testing.T) {
	r := newRig(t)
	id := r.runPod(hostNetworkPod("node"))
	if s := r.sandboxStatus(id); s.State != cri.PodSandboxState_SANDBOX_READY || s.Network.Ip != "" {
		t.Errorf("status %v", s)
	}
	if len(r.net.calls) != 0 {
		t.Errorf("network was called: %v", r.net.calls)
	}
}

func TestRunPodSandboxAgain(t *testing.T) {
	r := newRig(t)
	id := r.runPod(podConfig("web"))
	r.engine.ResetCalls()
	if again := r.runPod(podConfig("web")); again != id {
		t.Errorf("%s, then %s", id, again)
	}
	r.wantCalls()
}

func TestRunPodSandboxOfTakenName(t *testing.T) {
	r := newRig(t)
	other := podConfig("web")
	other.Hostname = "other"
	id := r.runPod(podConfig("web"))
	_, err := r.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: other})
	wantKind(t, err, errdefs.IsAlreadyExists)
	if r.sandboxStatus(id).State != cri.PodSandboxState_SANDBOX_READY {
		t.Error("the sandbox of the first request suffered")
	}
}

func TestForeignContainerHoldsTheName(t *testing.T) {
	r := newRig(t)
	const name = "k8s_POD_web_default_uid-web_0"
	foreign, err := r.engine.ContainerCreate(t.Context(), &container.Config{Image: appRef}, &container.HostConfig{}, nil, nil, name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: podConfig("web")})
	wantKind(t, err, errdefs.IsAlreadyExists)
	if !strings.Contains(err.Error(), foreign.ID) || !strings.Contains(err.Error(), "remove or rename") {
		t.Errorf("error does not say what to do: %v", err)
	}
	if !slices.Equal(r.engine.Leftovers(), []string{name}) {
		t.Errorf("left are %v", r.engine.Leftovers())
	}
}

// A killed adapter leaves a pause container behind that nobody has attached.
func TestLeftoverOfKilledAdapterGivesWay(t *testing.T) {
	r := newRig(t)
	id := r.runPod(podConfig("web"))
	delete(r.net.attached, id)
	restarted := newRigOn(t, r.engine, r.net)
	if s := restarted.sandboxStatus(id); s.State != cri.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("a sandbox without network is %v", s.State)
	}
	next := restarted.runPod(podConfig("web"))
	if next == id || len(r.engine.Leftovers()) != 1 {
		t.Errorf("%s, then %s; containers %v", id, next, r.engine.Leftovers())
	}
}

// The same, where the container came to be after the index was filled.
func TestUnknownLeftoverGivesWay(t *testing.T) {
	r := newRig(t)
	other := newRigOn(t, r.engine, r.net)
	id := other.runPod(podConfig("web"))
	delete(r.net.attached, id)
	if next := r.runPod(podConfig("web")); next == id || len(r.engine.Leftovers()) != 1 {
		t.Errorf("%s, then %s; containers %v", id, next, r.engine.Leftovers())
	}
}

// Where the index has missed a sandbox that runs, its own request must not
// take it for a leftover.
func TestUnknownReadySandboxIsSpared(t *testing.T) {
	r := newRig(t)
	other := newRigOn(t, r.engine, r.net)
	id := other.runPod(podConfig("web"))
	_, err := r.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: podConfig("web")})
	wantKind(t, err, errdefs.IsAlreadyExists)
	if len(r.engine.Leftovers()) != 1 || len(r.net.ids()) != 1 {
		t.Errorf("containers %v, attached %v", r.engine.Leftovers(), r.net.ids())
	}
	if again := r.runPod(podConfig("web")); again != id {
		t.Errorf("%s, then %s", id, again)
	}
}

func TestPauseThatEndsAtOnce(t *testing.T) {
	r := newRig(t)
	r.engine.OnStart(func(container.InspectResponse) fakeengine.Process {
		return fakeengine.Process{Exited: true, ExitCode: 3}
	})
	_, err := r.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: podConfig("web")})
	if err == nil || !strings.Contains(err.Error(), "exit code 3") || len(r.engine.Leftovers()) > 0 {
		t.Errorf("error %v, left %v", err, r.engine.Leftovers())
	}
}

func TestRefusedSandboxes(t *testing.T) {
	for name, spoil := range map[string]func(*cri.RunPodSandboxRequest){
		"config is required":    func(r *cri.RunPodSandboxRequest) { r.Config = nil },
		"config.metadata":       func(r *cri.RunPodSandboxRequest) { r.Config.Metadata = nil },
		"config.metadata.uid":   func(r *cri.RunPodSandboxRequest) { r.Config.Metadata.Uid = "" },
		"config.hostname":       func(r *cri.RunPodSandboxRequest) { r.Config.Hostname = strings.Repeat("x", 65) },
		"runtime_handler":       func(r *cri.RunPodSandboxRequest) { r.RuntimeHandler = "unheard-of" },
		"config.linux.sysctls":  func(r *cri.RunPodSandboxRequest) { r.Config.Linux.Sysctls = map[string]string{"vm.swappiness": "1"} },
		"config.port_mappings":  func(r *cri.RunPodSandboxRequest) { r.Config.PortMappings = []*cri.PortMapping{{ContainerPort: 70000}} },
		"seccomp profile":       func(r *cri.RunPodSandboxRequest) { r.Config.Linux.SecurityContext = localhostSeccomp("/no/such/file") },
		"config.dns_config":     func(r *cri.RunPodSandboxRequest) { r.Config.DnsConfig = &cri.DNSConfig{Servers: []string{"a\nb"}} },
		"seccomp.localhost_ref": func(r *cri.RunPodSandboxRequest) { r.Config.Linux.SecurityContext = localhostSeccomp("relative") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			request := &cri.RunPodSandboxRequest{Config: podConfig("web")}
			spoil(request)
			_, err := r.RunPodSandbox(t.Context(), request)
			wantKind(t, err, errdefs.IsInvalidArgument)
			if name != "config is required" && !strings.Contains(err.Error(), name) {
				t.Errorf("error does not name %s: %v", name, err)
			}
			r.wantCalls()
		})
	}
}

func localhostSeccomp(ref string) *cri.LinuxSandboxSecurityContext {
	return &cri.LinuxSandboxSecurityContext{Seccomp: &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: ref}}
}

func TestPauseImage(t *testing.T) {
	archive, err := pauseimage.Archive("x86_64")
	if err != nil || len(archive) == 0 {
		t.Fatalf("built-in image: %v", err)
	}
	for name, tt := range map[string]struct {
		prepare func(*fakeengine.Engine)
		want    string
		calls   []string
	}{
		"there already": {func(e *fakeengine.Engine) { e.AddImage(fakeengine.Image{Tags: []string{pauseRef}}) }, pauseRef, nil},
		"pulled":        {func(e *fakeengine.Engine) { e.Publish(pauseRef, fakeengine.Remote{}) }, pauseRef, []string{"ImagePull"}},
		"built in": {func(e *fakeengine.Engine) {
			e.Publish(pauseRef, fakeengine.Remote{Err: errors.New("no route to registry")})
		}, pauseimage.Reference, []string{"ImagePull", "ImageLoad"}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := fakeengine.New(t.TempDir())
			tt.prepare(engine)
			r := newRigOn(t, engine, newRig(t).net)
			id := r.runPod(podConfig("web"))
			var calls []string
			for _, c := range engine.Calls() {
				if c.Method == "ImagePull" || c.Method == "ImageLoad" {
					calls = append(calls, c.Method)
				}
			}
			if !slices.Equal(calls, tt.calls) {
				t.Errorf("calls %v, want %v", calls, tt.calls)
			}
			want := r.images.find(tt.want)
			if used := r.sandboxImage(id); want == nil || used != want.Id {
				t.Errorf("pause image %q, want %v", used, want)
			}
			engine.ResetCalls()
			r.runPod(podConfig("second"))
			r.wantCalls("ContainerCreate", "ContainerStart", "ContainerInspect")
			if list := r.listedImages(nil); !list[0].Pinned {
				t.Errorf("the pause image is not pinned: %v", list)
			}
		})
	}
}

func (r *rig) sandboxImage(id string) string {
	r.t.Helper()
	sb, err := r.index.sandbox(id)
	if err != nil {
		r.t.Fatal(err)
	}
	return sb.inspect.Image
}
