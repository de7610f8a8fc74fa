// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	oci "github.com/opencontainers/runtime-spec/specs-go"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Image references in container statuses, as dockershim formed them: by digest
// where the image came from a registry, by id otherwise.
const (
	pullablePrefix = "docker-pullable://"
	imageIDPrefix  = "docker://"
)

// Running tells whether a container's process runs.
func Running(c container.InspectResponse) bool {
	return containerState(c.State) == cri.ContainerState_CONTAINER_RUNNING
}

// Ended tells whether a container has come to its end.
func Ended(c container.InspectResponse) bool {
	return containerState(c.State) == cri.ContainerState_CONTAINER_EXITED
}

// PIDTarget is the container whose processes another shares; that of its sandbox
// is none.
func PIDTarget(c container.InspectResponse, sandboxID string) (id string, has bool) {
	id = c.HostConfig.PidMode.Container()
	return id, id != "" && id != sandboxID
}

// SandboxStatus is the status of a sandbox. It is ready when its pause
// container runs and, unless it uses the node's network, it has addresses.
func SandboxStatus(c container.InspectResponse, addresses []string) *cri.PodSandboxStatus {
	labels, annotations := labelsAndAnnotations(c.Config.Labels, true)
	ns := sandboxNamespaces(c.HostConfig, c.Config.Labels)
	s := &cri.PodSandboxStatus{
		Id:             c.ID,
		Metadata:       sandboxMetadata(c.Config.Labels, c.Name),
		State:          cri.PodSandboxState_SANDBOX_NOTREADY,
		CreatedAt:      nanoseconds(c.Created),
		Network:        network(addresses),
		Linux:          &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{Options: ns}},
		Labels:         labels,
		Annotations:    annotations,
		RuntimeHandler: c.Config.Labels[labelHandler],
	}
	if Running(c) && (hostNetwork(ns) || len(addresses) > 0) {
		s.State = cri.PodSandboxState_SANDBOX_READY
	}
	return s
}

// HostNetwork tells whether a sandbox shares the node's network.
func HostNetwork(c container.InspectResponse) bool { return c.HostConfig.NetworkMode.IsHost() }

func sandboxNamespaces(h *container.HostConfig, labels map[string]string) *cri.NamespaceOption {
	ns := &cri.NamespaceOption{Network: cri.NamespaceMode_POD, Pid: cri.NamespaceMode_CONTAINER, Ipc: cri.NamespaceMode_POD}
	if h.NetworkMode.IsHost() {
		ns.Network = cri.NamespaceMode_NODE
	}
	if labels[labelPID] == cri.NamespaceMode_POD.String() {
		ns.Pid = cri.NamespaceMode_POD
	}
	if h.PidMode.IsHost() {
		ns.Pid = cri.NamespaceMode_NODE
	}
	if h.IpcMode.IsHost() {
		ns.Ipc = cri.NamespaceMode_NODE
	}
	return ns
}

// network puts the first address where CRI wants the pod's own and the others
// beside it; a sandbox without addresses has an empty network.
func network(addresses []string) *cri.PodSandboxNetworkStatus {
	n := &cri.PodSandboxNetworkStatus{}
	for i, a := range addresses {
		if i == 0 {
			n.Ip = a
		} else {
			n.AdditionalIps = append(n.AdditionalIps, &cri.PodIP{Ip: a})
		}
	}
	return n
}

// ListedSandbox is the entry of a sandbox in lists.
func ListedSandbox(s *cri.PodSandboxStatus) *cri.PodSandbox {
	return &cri.PodSandbox{
		Id: s.Id, Metadata: s.Metadata, State: s.State, CreatedAt: s.CreatedAt,
		Labels: s.Labels, Annotations: s.Annotations, RuntimeHandler: s.RuntimeHandler,
	}
}

// ContainerStatus is the status of a workload container. repoDigests are those
// of its image, for the image reference; there may be none.
func ContainerStatus(c container.InspectResponse, repoDigests []string) *cri.ContainerStatus {
	labels, annotations := labelsAndAnnotations(c.Config.Labels, false)
	s := &cri.ContainerStatus{
		Id:          c.ID,
		Metadata:    containerMetadata(c.Config.Labels, c.Name),
		State:       containerState(c.State),
		CreatedAt:   nanoseconds(c.Created),
		Image:       imageSpec(c),
		ImageRef:    ImageRef(c.Image, repoDigests),
		ImageId:     c.Image,
		Labels:      labels,
		Annotations: annotations,
		Mounts:      statusMounts(c),
		LogPath:     c.Config.Labels[labelLogPath],
		Resources:   statusResources(c.HostConfig),
		User:        configuredUser(c),
		StopSignal:  criSignal(c.Config.StopSignal),
	}
	if s.State != cri.ContainerState_CONTAINER_CREATED {
		s.StartedAt = nanoseconds(c.State.StartedAt)
	}
	if s.State == cri.ContainerState_CONTAINER_EXITED {
		ended(s, c)
	}
	return s
}

// ended fills in how a container came to its end. One that could not be
// started has no times of its own; the kubelet wants some nevertheless.
func ended(s *cri.ContainerStatus, c container.InspectResponse) {
	s.FinishedAt = nanoseconds(c.State.FinishedAt)
	s.ExitCode = int32(c.State.ExitCode)
	s.Reason = exitReason(c.State)
	s.Message = c.State.Error
	if s.StartedAt == 0 {
		s.StartedAt = s.CreatedAt
	}
	// The engine notes a start when runc has answered, and then a short-lived
	// process may have ended before.
	s.FinishedAt = max(s.FinishedAt, s.StartedAt)
}

// configuredUser is whom a container runs as where that is written down in
// numbers; nil where only its image tells, or the process.
func configuredUser(c container.InspectResponse) *cri.ContainerUser {
	name, group, _ := strings.Cut(c.Config.User, ":")
	uid, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		return nil
	}
	gid, err := strconv.ParseInt(group, 10, 64)
	if err != nil {
		return nil
	}
	groups := []int64{gid}
	for _, g := range c.HostConfig.GroupAdd {
		if id, err := strconv.ParseInt(g, 10, 64); err == nil && !slices.Contains(groups, id) {
			groups = append(groups, id)
		}
	}
	return &cri.ContainerUser{Linux: &cri.LinuxContainerUser{Uid: uid, Gid: gid, SupplementalGroups: groups}}
}

// ProcessUser is whom a container's first process was started as, by its OCI
// specification.
func ProcessUser(u oci.User) *cri.ContainerUser {
	out := &cri.LinuxContainerUser{Uid: int64(u.UID), Gid: int64(u.GID)}
	for _, g := range u.AdditionalGids {
		out.SupplementalGroups = append(out.SupplementalGroups, int64(g))
	}
	return &cri.ContainerUser{Linux: out}
}

// ListedContainer is the entry of a container in lists.
func ListedContainer(s *cri.ContainerStatus, sandboxID string) *cri.Container {
	return &cri.Container{
		Id: s.Id, PodSandboxId: sandboxID, Metadata: s.Metadata, Image: s.Image, ImageRef: s.ImageId, ImageId: s.ImageId,
		State: s.State, CreatedAt: s.CreatedAt, Labels: s.Labels, Annotations: s.Annotations,
	}
}

// ContainerStats are a container's statistics, without any figure yet.
func ContainerStats(s *cri.ContainerStatus) *cri.ContainerStats {
	return &cri.ContainerStats{Attributes: &cri.ContainerAttributes{
		Id: s.Id, Metadata: s.Metadata, Labels: s.Labels, Annotations: s.Annotations,
	}}
}

// imageSpec names the image as its user did. Older shims left that in the
// container's configuration, often as an id.
func imageSpec(c container.InspectResponse) *cri.ImageSpec {
	name := firstOf(c.Config.Labels[labelImage], c.Config.Image)
	return &cri.ImageSpec{Image: name, UserSpecifiedImage: c.Config.Labels[labelImage]}
}

// ImageRef is how statuses name an image. repoDigests may be empty.
func ImageRef(id string, repoDigests []string) string {
	if len(repoDigests) > 0 {
		return pullablePrefix + repoDigests[0]
	}
	return imageIDPrefix + id
}

// CreatedInspect is what the engine will answer about a container that it has
// just created, so that nobody needs to ask.
func CreatedInspect(b Body, id, imageID string, at time.Time) container.InspectResponse {
	return container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID:         id,
			Name:       "/" + b.Name,
			Created:    at.UTC().Format(time.RFC3339Nano),
			Image:      imageID,
			State:      &container.State{Status: container.StateCreated},
			HostConfig: b.Host,
		},
		Config: b.Config,
		Mounts: mountPoints(b.Host.Mounts),
	}
}
