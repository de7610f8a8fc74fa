// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestTenContainers share a pod. They are started at the same time, and each
// finds the others.
func TestTenContainers(t *testing.T) {
	const containers = 10
	k := newKubelet(t)
	p := k.pod()
	created := make([]*container, containers)
	var all errgroup.Group
	for i := range created {
		config := containerConfig(p.config, fmt.Sprintf("echo number %d; ", i)+serve(8000+i))
		all.Go(func() error {
			id, err := p.tryCreate(config)
			if err != nil {
				return err
			}
			created[i] = &container{p, id, config}
			return created[i].start()
		})
	}
	k.must("start all", all.Wait())
	list := k.listContainers(&cri.ContainerFilter{PodSandboxId: p.id})
	if len(list) != containers {
		k.Errorf("%d containers are in the list", len(list))
	}
	for i, c := range created {
		c.wantState("started", cri.ContainerState_CONTAINER_RUNNING)
		c.awaitLog(fmt.Sprintf("number %d\n", i))
		next := fmt.Sprintf("http://127.0.0.1:%d/", 8000+(i+1)%containers)
		eventually(k, "it reaches its neighbour", func() bool {
			r, err := c.tryExec("wget", "-q", "-O", "-", next)
			k.must("ExecSync", err)
			return string(r.GetStdout()) == page
		})
	}
	// One of them goes, the others stay.
	k.must("StopContainer", created[3].stop(1))
	k.must("RemoveContainer", created[3].remove())
	running := &cri.ContainerFilter{PodSandboxId: p.id, State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING}}
	if now := len(k.listContainers(running)); now != containers-1 {
		k.Errorf("%d containers run", now)
	}
	k.must("StopPodSandbox", p.stop())
	if now := len(k.listContainers(running)); now != 0 {
		k.Errorf("%d containers run after StopPodSandbox", now)
	}
	k.must("RemovePodSandbox", p.remove())
	if now := len(k.listContainers(&cri.ContainerFilter{PodSandboxId: p.id})); now != 0 {
		k.Errorf("%d containers are left after RemovePodSandbox", now)
	}
}
