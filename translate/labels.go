// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Docker labels that dockershim introduced and cri-dockerd kept. They are
// written so that either can take the pods over again.
const (
	labelType      = "io.kubernetes.docker.type"
	labelLogPath   = "io.kubernetes.container.logpath"
	labelSandboxID = "io.kubernetes.sandbox.id"
	// labelContainerName is the kubelet's own; dockershim adds it to sandboxes,
	// with the value POD.
	labelContainerName = "io.kubernetes.container.name"
	// annotationPrefix marks labels that carry CRI annotations.
	annotationPrefix = "annotation."

	typeSandbox   = "podsandbox"
	typeContainer = "container"
	sandboxName   = "POD"
)

// Docker labels of our own, for what would otherwise have to be parsed out of
// names or would be lost.
const (
	ownPrefix        = "io.dockershimd."
	labelName        = ownPrefix + "name"
	labelNamespace   = ownPrefix + "namespace"
	labelUID         = ownPrefix + "uid"
	labelAttempt     = ownPrefix + "attempt"
	labelHandler     = ownPrefix + "runtime-handler"
	labelImage       = ownPrefix + "image"
	labelFingerprint = ownPrefix + "fingerprint"
	// labelPID is whose processes a pod's containers are to see; pause itself is the
	// same either way.
	labelPID = ownPrefix + "pid"
	// labelLog is the format of a container's log; containers of older shims, whose
	// log is a link to the engine's, have none.
	labelLog = ownPrefix + "log"
	// labelMounts holds, as JSON, the mounts as they were asked for that the engine
	// shows otherwise, and labelStaging what those are kept under that were made on
	// the node.
	labelMounts  = ownPrefix + "mounts"
	labelStaging = ownPrefix + "staging"
	// labelCgroup holds, as JSON, the limits that go to the container's cgroup when
	// it starts.
	labelCgroup = ownPrefix + "cgroup"
	// labelKeys lists, as a JSON array, the Docker labels that carry CRI's: the
	// engine adds those of the image to a container's own.
	labelKeys = ownPrefix + "keys"
	// escapePrefix goes before a CRI label whose own key would be taken for one
	// of the labels above.
	escapePrefix = ownPrefix + "label."
)

// LabelType is the key of the label that every container of ours carries; lists
// and events are filtered by it.
const LabelType = labelType

// The kubelet's labels, which tell the pod where an older shim left no labels
// of ours.
const (
	kubeletPodName      = "io.kubernetes.pod.name"
	kubeletPodNamespace = "io.kubernetes.pod.namespace"
	kubeletPodUID       = "io.kubernetes.pod.uid"
)

// reserved tells whether a label key has a meaning to this package.
func reserved(key string, sandbox bool) bool {
	switch key {
	case labelType, labelLogPath, labelSandboxID:
		return true
	case labelContainerName:
		return sandbox
	}
	return strings.HasPrefix(key, annotationPrefix) || strings.HasPrefix(key, ownPrefix)
}

// criLabels is the Docker form of CRI labels and annotations.
func criLabels(labels, annotations map[string]string, sandbox bool) map[string]string {
	m := make(map[string]string, len(labels)+len(annotations)+12)
	for k, v := range labels {
		if reserved(k, sandbox) {
			k = escapePrefix + k
		}
		m[k] = v
	}
	for k, v := range annotations {
		m[annotationPrefix+k] = v
	}
	keys, _ := json.Marshal(append([]string{}, sortedKeys(m)...)) // strings cannot fail, and none are [], not null
	m[labelKeys] = string(keys)
	return m
}

// labelsAndAnnotations is the reverse of criLabels. Neither map is nil. Of
// containers of older shims all labels count, the image's too.
func labelsAndAnnotations(docker map[string]string, sandbox bool) (labels, annotations map[string]string) {
	labels, annotations = map[string]string{}, map[string]string{}
	for _, k := range criKeys(docker) {
		v := docker[k]
		if key, ok := strings.CutPrefix(k, annotationPrefix); ok {
			annotations[key] = v
		} else if key, ok := strings.CutPrefix(k, escapePrefix); ok {
			labels[key] = v
		} else if !reserved(k, sandbox) {
			labels[k] = v
		}
	}
	return labels, annotations
}

// criKeys are the Docker labels that may carry CRI's.
func criKeys(docker map[string]string) (keys []string) {
	if json.Unmarshal([]byte(docker[labelKeys]), &keys) != nil {
		return sortedKeys(docker)
	}
	return slices.DeleteFunc(keys, func(k string) bool { _, ok := docker[k]; return !ok })
}

func sandboxLabels(s Sandbox) map[string]string {
	meta := s.Config.GetMetadata()
	m := criLabels(s.Config.GetLabels(), s.Config.GetAnnotations(), true)
	m[labelType] = typeSandbox
	m[labelContainerName] = sandboxName
	m[labelName] = meta.GetName()
	m[labelNamespace] = meta.GetNamespace()
	m[labelUID] = meta.GetUid()
	m[labelAttempt] = strconv.FormatUint(uint64(meta.GetAttempt()), 10)
	m[labelFingerprint] = s.fingerprint()
	m[labelHandler] = s.Handler
	m[labelPID] = s.Config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetPid().String()
	return m
}

func containerLabels(c Container) map[string]string {
	meta := c.Config.GetMetadata()
	m := criLabels(c.Config.GetLabels(), c.Config.GetAnnotations(), false)
	m[labelType] = typeContainer
	m[labelSandboxID] = c.SandboxID
	m[labelLogPath] = c.logPath()
	if c.logPath() != "" && !c.Log.Linked {
		m[labelLog] = logCRI
	}
	m[labelName] = meta.GetName()
	m[labelAttempt] = strconv.FormatUint(uint64(meta.GetAttempt()), 10)
	m[labelFingerprint] = c.fingerprint()
	m[labelImage] = c.userImage()
	return m
}

// hostLabels remember what is done for a container on the node.
func hostLabels(f Facts, c Container, limits CgroupLimits) map[string]string {
	m := map[string]string{
		labelMounts: labelledMounts(f, c),
		labelCgroup: limits.text(),
	}
	if len(c.Staged) > 0 {
		m[labelStaging] = c.StagingKey
	}
	maps.DeleteFunc(m, func(_, v string) bool { return v == "" })
	return m
}

// IsSandbox tells whether Docker labels are those of a sandbox of ours.
func IsSandbox(labels map[string]string) bool { return labels[labelType] == typeSandbox }

// IsContainer tells whether Docker labels are those of a workload container of ours.
func IsContainer(labels map[string]string) bool { return labels[labelType] == typeContainer }

// SandboxID is the sandbox that a workload container belongs to, by its Docker labels.
func SandboxID(labels map[string]string) string { return labels[labelSandboxID] }

// LogPath is where the kubelet expects a container's log, by its Docker
// labels; empty when it asked for none.
func LogPath(labels map[string]string) string { return labels[labelLogPath] }

// StagingKey is what a container's mounts on the node are kept under, by its
// Docker labels; empty when there are none.
func StagingKey(labels map[string]string) string { return labels[labelStaging] }

// Fingerprint identifies the request that an object was created for. It is
// empty for objects of older shims.
func Fingerprint(labels map[string]string) string { return labels[labelFingerprint] }

// sandboxMetadata reads a sandbox's identity from its Docker labels. Sandboxes
// of older shims carry the kubelet's labels, and the attempt in their name.
func sandboxMetadata(labels map[string]string, dockerName string) *cri.PodSandboxMetadata {
	if labels[labelAttempt] != "" {
		return &cri.PodSandboxMetadata{
			Name: labels[labelName], Namespace: labels[labelNamespace], Uid: labels[labelUID],
			Attempt: attempt(labels[labelAttempt]),
		}
	}
	old := parseName(dockerName)
	return &cri.PodSandboxMetadata{
		Name:      firstOf(labels[kubeletPodName], old.pod),
		Namespace: firstOf(labels[kubeletPodNamespace], old.namespace),
		Uid:       firstOf(labels[kubeletPodUID], old.uid),
		Attempt:   attempt(old.attempt),
	}
}

func containerMetadata(labels map[string]string, dockerName string) *cri.ContainerMetadata {
	if labels[labelAttempt] != "" {
		return &cri.ContainerMetadata{Name: labels[labelName], Attempt: attempt(labels[labelAttempt])}
	}
	old := parseName(dockerName)
	return &cri.ContainerMetadata{Name: firstOf(labels[labelContainerName], old.container), Attempt: attempt(old.attempt)}
}

// attempt reads a restart count; what is no number counts as the first attempt.
func attempt(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
