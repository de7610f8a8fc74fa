// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pod is a sandbox that the test has run.
type pod struct {
	*node
	id     string
	config *cri.PodSandboxConfig
}

// number makes names unique within a run.
var number atomic.Int64

// podConfig is a pod as plain as a kubelet would ask for, with edits.
func (n *node) podConfig(edits ...func(*cri.PodSandboxConfig)) *cri.PodSandboxConfig {
	name := fmt.Sprintf("pod%d", number.Add(1))
	c := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: "default", Uid: name + "-uid"},
		LogDirectory: filepath.Join(n.logs, name),
		Linux:        &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{}}},
	}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

// pod runs a sandbox, which is removed when the test ends.
func (n *node) pod(edits ...func(*cri.PodSandboxConfig)) *pod {
	n.Helper()
	return n.run(n.podConfig(edits...))
}

func (n *node) run(config *cri.PodSandboxConfig) *pod {
	n.Helper()
	r, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: config})
	n.must("RunPodSandbox", err)
	n.Cleanup(func() { n.removePod(r.GetPodSandboxId()) })
	return &pod{n, r.GetPodSandboxId(), config}
}

// in is the same pod in the hands of a part of the test.
func (p *pod) in(n *node) *pod { return &pod{n, p.id, p.config} }

func (n *node) stopPod(id string) {
	n.Helper()
	_, err := n.runtime.StopPodSandbox(context.Background(), &cri.StopPodSandboxRequest{PodSandboxId: id})
	n.must("StopPodSandbox", err)
}

// removePod stops the sandbox before, as a kubelet does.
func (n *node) removePod(id string) {
	n.Helper()
	n.stopPod(id)
	_, err := n.runtime.RemovePodSandbox(context.Background(), &cri.RemovePodSandboxRequest{PodSandboxId: id})
	n.must("RemovePodSandbox", err)
}

func (n *node) podStatus(id string) *cri.PodSandboxStatus {
	n.Helper()
	r, err := n.runtime.PodSandboxStatus(n.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: id})
	n.must("PodSandboxStatus", err)
	return r.GetStatus()
}

func (n *node) listPods(filter *cri.PodSandboxFilter) []*cri.PodSandbox {
	n.Helper()
	r, err := n.runtime.ListPodSandbox(n.Context(), &cri.ListPodSandboxRequest{Filter: filter})
	n.must("ListPodSandbox", err)
	return r.GetItems()
}

func (n *node) listContainers(filter *cri.ContainerFilter) []*cri.Container {
	n.Helper()
	r, err := n.runtime.ListContainers(n.Context(), &cri.ListContainersRequest{Filter: filter})
	n.must("ListContainers", err)
	return r.GetContainers()
}

// address is where the pod is reached.
func (p *pod) address() string {
	p.Helper()
	return p.podStatus(p.id).GetNetwork().GetIp()
}

func (p *pod) ready() bool {
	p.Helper()
	return p.podStatus(p.id).GetState() == cri.PodSandboxState_SANDBOX_READY
}

// namespaces are the namespace options of a pod.
func namespaces(c *cri.PodSandboxConfig) *cri.NamespaceOption {
	return c.GetLinux().GetSecurityContext().GetNamespaceOptions()
}

// onHostNetwork puts a pod into the node's network.
func onHostNetwork(c *cri.PodSandboxConfig) { namespaces(c).Network = cri.NamespaceMode_NODE }
