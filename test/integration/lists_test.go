// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestListFilters asks for parts of what there is.
func TestListFilters(t *testing.T) {
	n := newNode(t)
	label := func(value string) map[string]string { return map[string]string{"tier": value, "all": "yes"} }
	labelled := func(value string) func(*cri.PodSandboxConfig) {
		return func(c *cri.PodSandboxConfig) { c.Labels = label(value) }
	}
	front, back := n.pod(labelled("front")), n.pod(labelled("back"))
	n.stopPod(back.id)
	running := front.container(idle, func(c *cri.ContainerConfig) { c.Labels = label("front") })
	created := front.create(front.containerConfig(idle))

	ready := &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_READY}
	notReady := &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_NOTREADY}
	for name, test := range map[string]struct {
		filter *cri.PodSandboxFilter
		want   []string
	}{
		"all":                     {nil, []string{back.id, front.id}},
		"empty":                   {&cri.PodSandboxFilter{}, []string{back.id, front.id}},
		"by id":                   {&cri.PodSandboxFilter{Id: front.id}, []string{front.id}},
		"by short id":             {&cri.PodSandboxFilter{Id: front.id[:13]}, []string{front.id}},
		"ready":                   {&cri.PodSandboxFilter{State: ready}, []string{front.id}},
		"not ready":               {&cri.PodSandboxFilter{State: notReady}, []string{back.id}},
		"by label":                {&cri.PodSandboxFilter{LabelSelector: map[string]string{"tier": "back"}}, []string{back.id}},
		"by two labels":           {&cri.PodSandboxFilter{LabelSelector: label("front")}, []string{front.id}},
		"by id and another state": {&cri.PodSandboxFilter{Id: front.id, State: notReady}, nil},
		"unknown":                 {&cri.PodSandboxFilter{Id: "fffff"}, nil},
	} {
		n.sub("pods "+name, func(n *node) {
			n.wantIDs(test.want, idsOf(n.listPods(test.filter)))
			n.wantIDs(test.want, idsOf(n.streamPods(test.filter)))
		})
	}
	isCreated := &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_CREATED}
	for name, test := range map[string]struct {
		filter *cri.ContainerFilter
		want   []string
	}{
		"all":               {nil, []string{created.id, running.id}},
		"by id":             {&cri.ContainerFilter{Id: running.id}, []string{running.id}},
		"by short id":       {&cri.ContainerFilter{Id: running.id[:13]}, []string{running.id}},
		"created":           {&cri.ContainerFilter{State: isCreated}, []string{created.id}},
		"by pod":            {&cri.ContainerFilter{PodSandboxId: front.id}, []string{created.id, running.id}},
		"by another pod":    {&cri.ContainerFilter{PodSandboxId: back.id}, nil},
		"by label":          {&cri.ContainerFilter{LabelSelector: label("front")}, []string{running.id}},
		"by label of image": {&cri.ContainerFilter{LabelSelector: map[string]string{imageLabel: "of-the-image"}}, nil},
	} {
		n.sub("containers "+name, func(n *node) {
			n.wantIDs(test.want, idsOf(n.listContainers(test.filter)))
			n.wantIDs(test.want, idsOf(n.streamContainers(test.filter)))
		})
	}
}

func idsOf[T interface{ GetId() string }](list []T) (ids []string) {
	for _, o := range list {
		ids = append(ids, o.GetId())
	}
	return ids
}

func (n *node) wantIDs(want, got []string) {
	n.Helper()
	if !slices.Equal(want, got) {
		n.Errorf("got %q, want %q", got, want)
	}
}

func (n *node) streamPods(filter *cri.PodSandboxFilter) (all []*cri.PodSandbox) {
	n.Helper()
	stream, err := n.runtime.StreamPodSandboxes(n.Context(), &cri.StreamPodSandboxesRequest{Filter: filter})
	n.must("StreamPodSandboxes", err)
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		n.must("StreamPodSandboxes", err)
		all = append(all, part.GetPodSandboxes()...)
	}
}

func (n *node) streamContainers(filter *cri.ContainerFilter) (all []*cri.Container) {
	n.Helper()
	stream, err := n.runtime.StreamContainers(n.Context(), &cri.StreamContainersRequest{Filter: filter})
	n.must("StreamContainers", err)
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		n.must("StreamContainers", err)
		all = append(all, part.GetContainers()...)
	}
}

// TestShortIDs: crictl's users type the beginning of an id.
func TestShortIDs(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	c := p.container(idle)
	if got := n.podStatus(p.id[:12]).GetId(); got != p.id {
		n.Errorf("status is of %s", got)
	}
	short := &workload{pod: p, id: c.id[:12]}
	if got := short.status().GetId(); got != c.id {
		n.Errorf("status is of %s", got)
	}
	created, err := n.runtime.CreateContainer(n.Context(), &cri.CreateContainerRequest{
		PodSandboxId: p.id[:12], Config: p.containerConfig(idle), SandboxConfig: p.config,
	})
	n.must("CreateContainer", err)
	if list := n.listContainers(&cri.ContainerFilter{PodSandboxId: p.id}); !slices.Contains(idsOf(list), created.GetContainerId()) {
		n.Errorf("%s is not of the pod", created.GetContainerId())
	}
	short.stop(1)
	short.remove()
	_, err = n.runtime.ContainerStatus(n.Context(), &cri.ContainerStatusRequest{ContainerId: c.id})
	n.wantCode("status of a removed container", err, codes.NotFound)
	n.removePod(p.id[:12])
	if strings.Contains(strings.Join(idsOf(n.listPods(nil)), " "), p.id) {
		n.Error("the sandbox is still there")
	}
}
