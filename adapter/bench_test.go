// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"fmt"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/translate"
)

// filledIndex holds pods of one sandbox and two containers each.
func filledIndex(b *testing.B, pods int) *Server {
	b.Helper()
	s := &Server{index: newIndex(func(string) []string { return nil })}
	facts := translate.Facts{APIVersion: "1.51", CgroupDriver: "cgroupfs", CgroupVersion: 2}
	now := time.Now()
	put := func(body translate.Body, id string) {
		c := translate.CreatedInspect(body, id, "sha256:0", now)
		c.State = &container.State{Status: container.StateRunning, StartedAt: now.Format(time.RFC3339Nano)}
		s.index.put(c, now, func(container.InspectResponse) []string { return []string{"192.0.2.7"} })
	}
	for n := range pods {
		pod := podConfig(fmt.Sprintf("pod-%d", n))
		body, _, err := translate.SandboxBody(facts, translate.Sandbox{Config: pod})
		if err != nil {
			b.Fatal(err)
		}
		sandbox := fmt.Sprintf("%064x", n*3)
		put(body, sandbox)
		for k := 1; k <= 2; k++ {
			body, _, err := translate.ContainerBody(facts, translate.Container{
				Config: containerConfig(fmt.Sprintf("app-%d", k)), Pod: pod, SandboxID: sandbox, Metadata: pod.Metadata,
			})
			if err != nil {
				b.Fatal(err)
			}
			put(body, fmt.Sprintf("%064x", n*3+k))
		}
	}
	return s
}

// BenchmarkReads is what a kubelet asks for every second.
func BenchmarkReads(b *testing.B) {
	for _, pods := range []int{10, 110, 500} {
		s := filledIndex(b, pods)
		sandbox, app := fmt.Sprintf("%064x", 0), fmt.Sprintf("%064x", 1)
		for name, read := range map[string]func() error{
			"ListPodSandbox": func() error { _, err := s.ListPodSandbox(b.Context(), &cri.ListPodSandboxRequest{}); return err },
			"ListContainers": func() error { _, err := s.ListContainers(b.Context(), &cri.ListContainersRequest{}); return err },
			"PodSandboxStatus": func() error {
				_, err := s.PodSandboxStatus(b.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: sandbox})
				return err
			},
			"ContainerStatus": func() error {
				_, err := s.ContainerStatus(b.Context(), &cri.ContainerStatusRequest{ContainerId: app})
				return err
			},
		} {
			b.Run(fmt.Sprintf("%s/%d", name, pods), func(b *testing.B) {
				for b.Loop() {
					if err := read(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
