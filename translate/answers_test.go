// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// unanswered are the fields of answers that stay empty, and why.
var unanswered = map[string]string{
	"ContainerStatus.image.annotations":                        "the engine picks the image of its own platform",
	"ContainerStatus.image.runtime_handler":                    "the engine keeps one set of images for all runtimes",
	"ContainerStatus.image.image_ref":                          "it belongs to image volumes",
	"ContainerStatus.mounts.selinux_relabel":                   "the engine does not show it",
	"ContainerStatus.mounts.uidMappings":                       "requests with it are refused",
	"ContainerStatus.mounts.gidMappings":                       "requests with it are refused",
	"ContainerStatus.mounts.image.annotations":                 "they have no effect",
	"ContainerStatus.mounts.image.runtime_handler":             "it has no effect",
	"ContainerStatus.resources.windows":                        "this adapter is for Linux",
	"ContainerStatus.resources.linux.hugepage_limits":          "package adapter reads them from the kernel",
	"ContainerStatus.resources.linux.unified":                  "package adapter reads them from the kernel",
	"PodSandboxStatus.network.additional_ips.ip":               "",
	"PodSandboxStatus.linux.namespaces.options.target_id":      "a sandbox has no target",
	"PodSandboxStatus.linux.namespaces.options.userns_options": "requests with it are refused",
	"Container.image.annotations":                              "as in ContainerStatus",
	"Container.image.runtime_handler":                          "as in ContainerStatus",
	"Container.image.image_ref":                                "as in ContainerStatus",
	"Image.spec":                                               "it is for runtime handlers, which share all images here",
	"Image.pinned":                                             "package adapter knows what is pinned",
	"Image.username":                                           "it or uid, whichever the image names",
}

// TestAnswersAreComplete: whatever the engine can tell is in the answer.
func TestAnswersAreComplete(t *testing.T) {
	const moment = "2026-11-25T10:00:00.5Z"
	created, err := time.Parse(time.RFC3339Nano, moment)
	if err != nil {
		t.Fatal(err)
	}
	request := Container{
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "app", Attempt: 3}, LogPath: "app.log",
			Image:  &cri.ImageSpec{Image: "sha256:1", UserSpecifiedImage: "app:1"},
			Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
			Mounts: []*cri.Mount{
				{HostPath: "/srv", ContainerPath: "/ro", Readonly: true, RecursiveReadOnly: true},
				{HostPath: "/srv", ContainerPath: "/noexec", Propagation: cri.MountPropagation_PROPAGATION_BIDIRECTIONAL, MountOptions: []string{"noexec"}},
				{ContainerPath: "/image", Image: &cri.ImageSpec{Image: "sha256:2", UserSpecifiedImage: "models:1"}, ImageSubPath: "small"},
			},
			StopSignal: cri.Signal_SIGNAL_SIGHUP,
		},
		Pod: &cri.PodSandboxConfig{LogDirectory: "/var/log"}, SandboxID: "sandbox", Metadata: podMetadata(),
		Volumes: map[int]VolumeImage{2: {ID: "sha256:2", Ref: "models@sha256:3"}}, Staged: map[int]string{1: "/staged"},
	}
	body, _, err := ContainerBody(capable(), request)
	if err != nil {
		t.Fatal(err)
	}
	body.Config.User, body.Host.GroupAdd = "1000:1001", []string{"7"}
	body.Host.Resources = container.Resources{
		CPUPeriod: 1, CPUQuota: 2, CPUShares: 3, CpusetCpus: "0", CpusetMems: "0", Memory: 4, MemorySwap: 5,
	}
	body.Host.OomScoreAdj = 6
	c := CreatedInspect(body, "id", "sha256:1", created)
	c.State = &container.State{Status: container.StateExited, ExitCode: 1, StartedAt: moment, FinishedAt: moment, Error: "why"}
	status := ContainerStatus(c, []string{"app@sha256:4"})

	sandbox, _, err := SandboxBody(capable(), Sandbox{
		Config: &cri.PodSandboxConfig{
			Metadata: &cri.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "uid1", Attempt: 2},
			Labels:   map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
			Linux: &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{
				Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_NODE, Ipc: cri.NamespaceMode_NODE,
			}}},
		},
		Handler: "runsc",
	})
	if err != nil {
		t.Fatal(err)
	}
	s := CreatedInspect(sandbox, "id", "pause", created)
	s.State = &container.State{Status: container.StateExited, StartedAt: moment}
	pod := SandboxStatus(s, []string{"192.0.2.1", "2001:db8::1"})
	inspect := image.InspectResponse{
		ID: "sha256:1", RepoTags: []string{"app:1"}, RepoDigests: []string{"app@sha256:" + strings.Repeat("0", 64)}, Size: 1,
	}
	byID := Image(inspect)
	ImageUser(byID, "1000")

	left := maps.Clone(unanswered)
	for _, m := range []proto.Message{
		status, ListedContainer(status, "sandbox"), pod, ListedSandbox(pod), byID,
	} {
		a := answer{t, left}
		a.complete([]protoreflect.Message{m.ProtoReflect()}, string(m.ProtoReflect().Descriptor().Name()))
	}
	for path := range left {
		t.Errorf("%s is answered, or there is no such field: take it out of the table", path)
	}
}

// answer is looked through for fields that are empty in all messages of a list.
type answer struct {
	*testing.T
	left map[string]string
}

func (a answer) complete(messages []protoreflect.Message, path string) {
	fields := messages[0].Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		at := path + "." + string(f.Name())
		if _, known := unanswered[at]; known {
			delete(a.left, at)
			continue
		}
		holders := slices.DeleteFunc(slices.Clone(messages), func(m protoreflect.Message) bool { return !m.Has(f) })
		switch {
		case len(holders) == 0:
			a.Errorf("%s is empty: answer it, or say why not", at)
		case isMessage(f):
			a.complete(inside(holders, f), at)
		}
	}
}

// inside are the messages in a field of others.
func inside(holders []protoreflect.Message, f protoreflect.FieldDescriptor) (all []protoreflect.Message) {
	for _, m := range holders {
		if !f.IsList() {
			all = append(all, m.Get(f).Message())
			continue
		}
		list := m.Get(f).List()
		for i := range list.Len() {
			all = append(all, list.Get(i).Message())
		}
	}
	return all
}
