// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	createdAt  = "2026-11-23T10:00:00Z"
	startedAt  = "2026-11-23T10:00:01Z"
	finishedAt = "2026-11-23T10:00:02Z"
)

// inspected is an engine's answer to inspect in the state given.
func inspected(t *testing.T, s container.State) container.InspectResponse {
	t.Helper()
	created, err := time.Parse(time.RFC3339, createdAt)
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := ContainerBody(capable(), Container{
		Config: validContainer(), Pod: validSandbox(), Metadata: podMetadata(), SandboxID: "s1", ImageID: "sha256:image",
	})
	if err != nil {
		t.Fatal(err)
	}
	c := CreatedInspect(body, "c1", "sha256:image", created)
	c.State = &s
	return c
}

// inspectedSandbox is an engine's answer to inspect for a pause container.
func inspectedSandbox(t *testing.T, network container.NetworkMode, s container.ContainerState) container.InspectResponse {
	t.Helper()
	body, _, err := SandboxBody(capable(), Sandbox{Config: validSandbox(), Handler: "runsc"})
	if err != nil {
		t.Fatal(err)
	}
	body.Host.NetworkMode = network
	c := CreatedInspect(body, "s1", "sha256:pause", time.Unix(1, 0))
	c.State.Status = s
	return c
}

func TestSandboxStatusReady(t *testing.T) {
	for _, c := range []struct {
		about     string
		network   container.NetworkMode
		state     container.ContainerState
		addresses []string
		want      cri.PodSandboxState
	}{
		{"attached", "none", "running", []string{"10.0.0.2"}, cri.PodSandboxState_SANDBOX_READY},
		{"not attached yet", "none", "running", nil, cri.PodSandboxState_SANDBOX_NOTREADY},
		{"on the node's network", "host", "running", nil, cri.PodSandboxState_SANDBOX_READY},
		{"pause ended", "none", "exited", []string{"10.0.0.2"}, cri.PodSandboxState_SANDBOX_NOTREADY},
		{"pause ended on the node's network", "host", "exited", nil, cri.PodSandboxState_SANDBOX_NOTREADY},
		{"created only", "none", "created", nil, cri.PodSandboxState_SANDBOX_NOTREADY},
		{"a state nobody knows", "host", "", nil, cri.PodSandboxState_SANDBOX_NOTREADY},
	} {
		s := SandboxStatus(inspectedSandbox(t, c.network, c.state), c.addresses)
		if s.State != c.want {
			t.Errorf("%s: %v, want %v", c.about, s.State, c.want)
		}
		if got, want := s.Linux.Namespaces.Options.Network == cri.NamespaceMode_NODE, c.network == "host"; got != want {
			t.Errorf("%s: the network is said to be the node's: %v, want %v", c.about, got, want)
		}
	}
}

func TestSandboxStatus(t *testing.T) {
	s := SandboxStatus(inspectedSandbox(t, "none", "running"), []string{"10.0.0.2", "fd00::2"})
	want := &cri.PodSandboxStatus{
		Id: "s1", Metadata: podMetadata(), State: cri.PodSandboxState_SANDBOX_READY, CreatedAt: 1e9,
		Network: &cri.PodSandboxNetworkStatus{Ip: "10.0.0.2", AdditionalIps: []*cri.PodIP{{Ip: "fd00::2"}}},
		Linux: &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{Options: &cri.NamespaceOption{
			Network: cri.NamespaceMode_POD, Pid: cri.NamespaceMode_POD, Ipc: cri.NamespaceMode_POD,
		}}},
		Labels: stringMap{}, Annotations: stringMap{}, RuntimeHandler: "runsc",
	}
	if !proto.Equal(s, want) {
		t.Errorf("SandboxStatus:\n%v, want\n%v", s, want)
	}
	listed := &cri.PodSandbox{
		Id: "s1", Metadata: podMetadata(), State: cri.PodSandboxState_SANDBOX_READY, CreatedAt: 1e9,
		Labels: stringMap{}, Annotations: stringMap{}, RuntimeHandler: "runsc",
	}
	if got := ListedSandbox(s); !proto.Equal(got, listed) {
		t.Errorf("ListedSandbox:\n%v, want\n%v", got, listed)
	}
	if got := SandboxStatus(inspectedSandbox(t, "none", "running"), nil).Network; got == nil || got.Ip != "" {
		t.Errorf("without addresses the network is %v, want an empty one", got)
	}
}

func TestSandboxNamespaces(t *testing.T) {
	ns := sandboxNamespaces(&container.HostConfig{NetworkMode: "host", PidMode: "host", IpcMode: "host"}, nil)
	want := &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_NODE, Ipc: cri.NamespaceMode_NODE}
	if !proto.Equal(ns, want) {
		t.Errorf("%v, want %v", ns, want)
	}
}

func TestContainerStatusTimes(t *testing.T) {
	created, started, finished := nanoseconds(createdAt), nanoseconds(startedAt), nanoseconds(finishedAt)
	for _, c := range []struct {
		about                     string
		state                     container.State
		wantStarted, wantFinished int64
		wantCode                  int32
		wantReason                string
	}{
		{"created", container.State{Status: "created", StartedAt: dockerZero, FinishedAt: dockerZero}, 0, 0, 0, ""},
		{"running", container.State{Status: "running", StartedAt: startedAt, FinishedAt: dockerZero}, started, 0, 0, ""},
		{"running again", container.State{Status: "running", StartedAt: startedAt, FinishedAt: finishedAt, ExitCode: 0}, started, 0, 0, ""},
		{"exited", container.State{Status: "exited", StartedAt: startedAt, FinishedAt: finishedAt, ExitCode: 3}, started, finished, 3, "Error"},
		{"failed start", container.State{Status: "created", StartedAt: dockerZero, FinishedAt: dockerZero, ExitCode: 127, Error: "no such file"},
			created, created, 127, "ContainerCannotRun"},
		{"dead without an end", container.State{Status: "dead", StartedAt: startedAt, FinishedAt: dockerZero, ExitCode: 137}, started, started, 137, "Error"},
	} {
		s := ContainerStatus(inspected(t, c.state), nil)
		if s.CreatedAt != created || s.StartedAt != c.wantStarted || s.FinishedAt != c.wantFinished {
			t.Errorf("%s: created %d, started %d, finished %d; want %d, %d, %d",
				c.about, s.CreatedAt, s.StartedAt, s.FinishedAt, created, c.wantStarted, c.wantFinished)
		}
		if s.ExitCode != c.wantCode || s.Reason != c.wantReason || s.Message != c.state.Error {
			t.Errorf("%s: code %d, reason %q, message %q; want %d, %q, %q",
				c.about, s.ExitCode, s.Reason, s.Message, c.wantCode, c.wantReason, c.state.Error)
		}
	}
}

func TestContainerStatus(t *testing.T) {
	s := ContainerStatus(inspected(t, container.State{Status: "running", StartedAt: startedAt}), []string{"busybox@sha256:d1", "other@sha256:d2"})
	want := &cri.ContainerStatus{
		Id: "c1", Metadata: &cri.ContainerMetadata{Name: "app"}, State: cri.ContainerState_CONTAINER_RUNNING,
		CreatedAt: nanoseconds(createdAt), StartedAt: nanoseconds(startedAt),
		Image:    &cri.ImageSpec{Image: "busybox", UserSpecifiedImage: "busybox"},
		ImageRef: "docker-pullable://busybox@sha256:d1", ImageId: "sha256:image",
		Labels: stringMap{}, Annotations: stringMap{},
		Mounts:     []*cri.Mount{{ContainerPath: "/data", HostPath: "/srv"}},
		LogPath:    "/var/log/pods/web/app/0.log",
		Resources:  &cri.ContainerResources{Linux: &cri.LinuxContainerResources{}},
		StopSignal: cri.Signal_SIGNAL_SIGTERM,
	}
	if !proto.Equal(s, want) {
		t.Errorf("ContainerStatus:\n%v, want\n%v", s, want)
	}
	listed := &cri.Container{
		Id: "c1", PodSandboxId: "s1", Metadata: want.Metadata, Image: want.Image, ImageRef: "sha256:image", ImageId: "sha256:image",
		State: want.State, CreatedAt: want.CreatedAt, Labels: stringMap{}, Annotations: stringMap{},
	}
	if got := ListedContainer(s, "s1"); !proto.Equal(got, listed) {
		t.Errorf("ListedContainer:\n%v, want\n%v", got, listed)
	}
}

// A container of cri-dockerd has none of our labels, and says its image by id.
func TestContainerStatusOfOlderShim(t *testing.T) {
	c := inspected(t, container.State{Status: "running", StartedAt: startedAt})
	c.Name = "/k8s_app_web_default_uid1_4"
	c.Config.Labels = stringMap{labelType: typeContainer, labelContainerName: "app", labelLogPath: "/l", "annotation.a": "b"}
	c.Config.Image = "sha256:image"
	s := ContainerStatus(c, nil)
	if s.Metadata.Name != "app" || s.Metadata.Attempt != 4 || s.LogPath != "/l" || s.Annotations["a"] != "b" {
		t.Errorf("metadata %v, log path %q, annotations %v", s.Metadata, s.LogPath, s.Annotations)
	}
	if s.Image.Image != "sha256:image" || s.Image.UserSpecifiedImage != "" || s.ImageRef != "docker://sha256:image" {
		t.Errorf("image %v, reference %q", s.Image, s.ImageRef)
	}
}

func TestContainerStatusResources(t *testing.T) {
	asked := &cri.LinuxContainerResources{
		CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512, CpusetCpus: "0", CpusetMems: "0",
		MemoryLimitInBytes: 1 << 26, MemorySwapLimitInBytes: 1 << 27, OomScoreAdj: 500,
	}
	host := &container.HostConfig{Resources: resources(asked), OomScoreAdj: 500}
	if got := statusResources(host).Linux; !proto.Equal(got, asked) {
		t.Errorf("%v, want %v", got, asked)
	}
}

func TestCreatedInspect(t *testing.T) {
	body, _, err := ContainerBody(capable(), Container{Config: validContainer(), Pod: validSandbox(), Metadata: podMetadata(), ImageID: "sha256:image"})
	if err != nil {
		t.Fatal(err)
	}
	zone := time.FixedZone("east", 3600)
	c := CreatedInspect(body, "c1", "sha256:image", time.Date(2026, 11, 23, 11, 0, 0, 7, zone))
	if c.ID != "c1" || c.Name != "/"+body.Name || c.Image != "sha256:image" || c.Created != "2026-11-23T10:00:00.000000007Z" {
		t.Errorf("id %q, name %q, image %q, created %q", c.ID, c.Name, c.Image, c.Created)
	}
	if Running(c) || containerState(c.State) != cri.ContainerState_CONTAINER_CREATED {
		t.Errorf("its state is %v", containerState(c.State))
	}
	if HostNetwork(c) || !slices.Equal(c.Config.Env, body.Config.Env) {
		t.Error("it is not made of the body")
	}
}
