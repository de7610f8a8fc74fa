// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestManyPodsAtOnce takes pods through their lives side by side.
func TestManyPodsAtOnce(t *testing.T) {
	const pods = 20
	n := newNode(t)
	created := make([]*pod, pods)
	containers := make([]string, pods)
	n.together("run", pods, func(i int) error {
		p := &pod{node: n, config: n.podConfig(func(c *cri.PodSandboxConfig) {
			c.PortMappings = []*cri.PortMapping{{ContainerPort: 80, HostPort: int32(21000 + i)}}
		})}
		r, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: p.config})
		p.id, created[i] = r.GetPodSandboxId(), p
		return err
	})
	addresses := map[string]bool{}
	for _, p := range created {
		addresses[p.address()] = true
	}
	if len(addresses) != pods || len(n.listPods(nil)) != pods {
		n.Errorf("%d addresses, %d sandboxes", len(addresses), len(n.listPods(nil)))
	}
	n.together("start", pods, func(i int) (err error) {
		if containers[i], err = created[i].tryCreate(created[i].containerConfig(idle)); err != nil {
			return err
		}
		_, err = n.runtime.StartContainer(n.Context(), &cri.StartContainerRequest{ContainerId: containers[i]})
		return err
	})
	for _, c := range n.listContainers(nil) {
		if c.GetState() != cri.ContainerState_CONTAINER_RUNNING {
			n.Errorf("%s is %s", c.GetId(), c.GetState())
		}
	}
	n.together("stop", pods, func(i int) error {
		if _, err := n.runtime.StopContainer(n.Context(), &cri.StopContainerRequest{ContainerId: containers[i], Timeout: 10}); err != nil {
			return err
		}
		_, err := n.runtime.StopPodSandbox(n.Context(), &cri.StopPodSandboxRequest{PodSandboxId: created[i].id})
		return err
	})
	n.together("remove", pods, func(i int) error {
		_, err := n.runtime.RemovePodSandbox(n.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: created[i].id})
		return err
	})
	if left := len(n.listPods(nil)) + len(n.listContainers(nil)); left > 0 {
		n.Errorf("%d objects are left in the lists", left)
	}
}

// together does a step for each number at the same time.
func (n *node) together(what string, count int, step func(i int) error) {
	n.Helper()
	var all errgroup.Group
	for i := range count {
		all.Go(func() error {
			if err := step(i); err != nil {
				return fmt.Errorf("pod %d: %w", i, err)
			}
			return nil
		})
	}
	n.must(what, all.Wait())
}
