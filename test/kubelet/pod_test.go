// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pod is a sandbox that the test has run.
type pod struct {
	*kubelet
	id     string
	config *cri.PodSandboxConfig
}

// number makes names unique within a run.
var number atomic.Int64

func unique(noun string) string { return fmt.Sprintf("%s-%d", noun, number.Add(1)) }

// podConfig is a pod as plain as a kubelet would ask for, with edits.
func podConfig(logs string, edits ...func(*cri.PodSandboxConfig)) *cri.PodSandboxConfig {
	name := unique("pod")
	c := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: "suite", Uid: name + "-uid"},
		Hostname:     name,
		LogDirectory: filepath.Join(logs, name),
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    cgroupParent(name),
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{}},
		},
	}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

// cgroupParent is a pod's cgroup below the one that the environment names. What
// ends in .slice is systemd's, whose names lead to the root.
func cgroupParent(pod string) string {
	parent := os.Getenv("CGROUP_PARENT")
	if parent == "" {
		parent = os.Getenv("RIG_CGROUP")
	}
	if parent == "" {
		return ""
	}
	if slice, found := strings.CutSuffix(filepath.Base(parent), ".slice"); found {
		pod = slice + "-" + strings.ReplaceAll(pod, "-", "_") + ".slice"
	}
	return filepath.Join(parent, pod)
}

// pod runs a sandbox, which is removed when the test ends.
func (k *kubelet) pod(edits ...func(*cri.PodSandboxConfig)) *pod {
	k.Helper()
	return k.runPod("", podConfig(k.TempDir(), edits...))
}

func (k *kubelet) runPod(handler string, config *cri.PodSandboxConfig) *pod {
	k.Helper()
	id, err := k.tryPod(handler, config)
	k.must("RunPodSandbox", err)
	return &pod{k, id, config}
}

// tryPod is RunPodSandbox. The kubelet makes the log directory before.
func (k *kubelet) tryPod(handler string, config *cri.PodSandboxConfig) (string, error) {
	k.Helper()
	k.must("make the log directory", os.MkdirAll(config.GetLogDirectory(), 0o755))
	r, err := k.runtime.RunPodSandbox(k.Context(), &cri.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err == nil {
		k.Cleanup(func() { k.must("remove the pod", k.removePod(context.Background(), r.GetPodSandboxId())) })
	}
	return r.GetPodSandboxId(), err
}

// in is the same pod in the hands of a part of the test.
func (p *pod) in(k *kubelet) *pod { return &pod{k, p.id, p.config} }

// removePod stops the sandbox before, as a kubelet does.
func (c *client) removePod(ctx context.Context, id string) error {
	_, stop := c.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id})
	_, remove := c.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
	return errors.Join(stop, remove)
}

func (p *pod) stop() error {
	_, err := p.runtime.StopPodSandbox(context.Background(), &cri.StopPodSandboxRequest{PodSandboxId: p.id})
	return err
}

func (p *pod) remove() error {
	_, err := p.runtime.RemovePodSandbox(context.Background(), &cri.RemovePodSandboxRequest{PodSandboxId: p.id})
	return err
}

func (p *pod) status() *cri.PodSandboxStatus {
	p.Helper()
	r, err := p.runtime.PodSandboxStatus(p.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
	p.must("PodSandboxStatus", err)
	return r.GetStatus()
}

// addresses are all that the status tells, the first one first.
func (p *pod) addresses() []string {
	p.Helper()
	network := p.status().GetNetwork()
	all := []string{network.GetIp()}
	for _, a := range network.GetAdditionalIps() {
		all = append(all, a.GetIp())
	}
	return all
}

func (k *kubelet) listPods(filter *cri.PodSandboxFilter) []*cri.PodSandbox {
	k.Helper()
	r, err := k.runtime.ListPodSandbox(k.Context(), &cri.ListPodSandboxRequest{Filter: filter})
	k.must("ListPodSandbox", err)
	return r.GetItems()
}

func (k *kubelet) listContainers(filter *cri.ContainerFilter) []*cri.Container {
	k.Helper()
	r, err := k.runtime.ListContainers(k.Context(), &cri.ListContainersRequest{Filter: filter})
	k.must("ListContainers", err)
	return r.GetContainers()
}

// namespaces are the namespace options of a pod.
func namespaces(c *cri.PodSandboxConfig) *cri.NamespaceOption {
	return c.GetLinux().GetSecurityContext().GetNamespaceOptions()
}

// onHostNetwork puts a pod into the node's network.
func onHostNetwork(c *cri.PodSandboxConfig) {
	namespaces(c).Network = cri.NamespaceMode_NODE
	c.Hostname = ""
}
