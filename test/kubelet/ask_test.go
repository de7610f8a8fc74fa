// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// question is a call that changes nothing.
type question struct {
	ask func(ctx context.Context, k *client, pod, container string) (proto.Message, error)
	// gone is what it says of a pod or container that is not there: OK where it
	// is not about one.
	gone codes.Code
	// same: two answers in a row are equal.
	same bool
	// late: runtimes may not have it, which the kubelet copes with.
	late bool
}

// questions are the calls that change nothing, by their names.
var questions = map[string]question{
	"Version": {func(ctx context.Context, k *client, _, _ string) (proto.Message, error) {
		return k.runtime.Version(ctx, &cri.VersionRequest{})
	}, codes.OK, true, false},
	"Status": {func(ctx context.Context, k *client, _, _ string) (proto.Message, error) {
		return k.runtime.Status(ctx, &cri.StatusRequest{})
	}, codes.OK, true, false},
	"RuntimeConfig": {func(ctx context.Context, k *client, _, _ string) (proto.Message, error) {
		return k.runtime.RuntimeConfig(ctx, &cri.RuntimeConfigRequest{})
	}, codes.OK, true, true},
	"PodSandboxStatus": {func(ctx context.Context, k *client, pod, _ string) (proto.Message, error) {
		r, err := k.runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: pod, Verbose: true})
		return r.GetStatus(), err // the rest has the time in it
	}, codes.NotFound, true, false},
	"ListPodSandbox": {func(ctx context.Context, k *client, pod, _ string) (proto.Message, error) {
		return k.runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{Id: pod}})
	}, codes.OK, true, false},
	"StreamPodSandboxes": {func(ctx context.Context, k *client, pod, _ string) (proto.Message, error) {
		s, err := k.runtime.StreamPodSandboxes(ctx, &cri.StreamPodSandboxesRequest{Filter: &cri.PodSandboxFilter{Id: pod}})
		return drained(s, err)
	}, codes.OK, true, true},
	"ContainerStatus": {func(ctx context.Context, k *client, _, container string) (proto.Message, error) {
		r, err := k.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: container, Verbose: true})
		return r.GetStatus(), err
	}, codes.NotFound, true, false},
	"ListContainers": {func(ctx context.Context, k *client, _, container string) (proto.Message, error) {
		return k.runtime.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{Id: container}})
	}, codes.OK, true, false},
	"StreamContainers": {func(ctx context.Context, k *client, _, container string) (proto.Message, error) {
		s, err := k.runtime.StreamContainers(ctx, &cri.StreamContainersRequest{Filter: &cri.ContainerFilter{Id: container}})
		return drained(s, err)
	}, codes.OK, true, true},
	"ExecSync": {func(ctx context.Context, k *client, _, container string) (proto.Message, error) {
		return k.runtime.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: container, Cmd: []string{"echo", "here"}, Timeout: int64(patience.Seconds())})
	}, codes.NotFound, true, false},
	"Exec": {func(ctx context.Context, k *client, _, container string) (proto.Message, error) {
		return k.runtime.Exec(ctx, &cri.ExecRequest{ContainerId: container, Cmd: []string{"true"}, Stdout: true})
	}, codes.NotFound, false, false},
	"Attach": {func(ctx context.Context, k *client, _, container string) (proto.Message, error) {
		return k.runtime.Attach(ctx, &cri.AttachRequest{ContainerId: container, Stdout: true})
	}, codes.NotFound, false, false},
	"PortForward": {func(ctx context.Context, k *client, pod, _ string) (proto.Message, error) {
		return k.runtime.PortForward(ctx, &cri.PortForwardRequest{PodSandboxId: pod, Port: []int32{80}})
	}, codes.NotFound, false, false},
	"ContainerStats": {func(ctx context.Context, k *client, _, container string) (proto.Message, error) {
		return k.runtime.ContainerStats(ctx, &cri.ContainerStatsRequest{ContainerId: container})
	}, codes.NotFound, false, true},
	"ListContainerStats": {func(ctx context.Context, k *client, _, container string) (proto.Message, error) {
		return k.runtime.ListContainerStats(ctx, &cri.ListContainerStatsRequest{Filter: &cri.ContainerStatsFilter{Id: container}})
	}, codes.OK, false, true},
	"StreamContainerStats": {func(ctx context.Context, k *client, _, container string) (proto.Message, error) {
		s, err := k.runtime.StreamContainerStats(ctx, &cri.StreamContainerStatsRequest{Filter: &cri.ContainerStatsFilter{Id: container}})
		return drained(s, err)
	}, codes.OK, false, true},
	"PodSandboxStats": {func(ctx context.Context, k *client, pod, _ string) (proto.Message, error) {
		return k.runtime.PodSandboxStats(ctx, &cri.PodSandboxStatsRequest{PodSandboxId: pod})
	}, codes.NotFound, false, true},
	"ListPodSandboxStats": {func(ctx context.Context, k *client, pod, _ string) (proto.Message, error) {
		return k.runtime.ListPodSandboxStats(ctx, &cri.ListPodSandboxStatsRequest{Filter: &cri.PodSandboxStatsFilter{Id: pod}})
	}, codes.OK, false, true},
	"StreamPodSandboxStats": {func(ctx context.Context, k *client, pod, _ string) (proto.Message, error) {
		s, err := k.runtime.StreamPodSandboxStats(ctx, &cri.StreamPodSandboxStatsRequest{Filter: &cri.PodSandboxStatsFilter{Id: pod}})
		return drained(s, err)
	}, codes.OK, false, true},
	"ListMetricDescriptors": {func(ctx context.Context, k *client, _, _ string) (proto.Message, error) {
		return k.runtime.ListMetricDescriptors(ctx, &cri.ListMetricDescriptorsRequest{})
	}, codes.OK, false, true},
	"ListPodSandboxMetrics": {func(ctx context.Context, k *client, _, _ string) (proto.Message, error) {
		return k.runtime.ListPodSandboxMetrics(ctx, &cri.ListPodSandboxMetricsRequest{})
	}, codes.OK, false, true},
	"StreamPodSandboxMetrics": {func(ctx context.Context, k *client, _, _ string) (proto.Message, error) {
		s, err := k.runtime.StreamPodSandboxMetrics(ctx, &cri.StreamPodSandboxMetricsRequest{})
		return drained(s, err)
	}, codes.OK, false, true},
	"ListImages": {func(ctx context.Context, k *client, _, _ string) (proto.Message, error) {
		r, err := k.images.ListImages(ctx, &cri.ListImagesRequest{Filter: &cri.ImageFilter{Image: &cri.ImageSpec{Image: suite.image}}})
		// Not all runtimes heed the filter, and lists have no order.
		slices.SortFunc(r.GetImages(), func(a, b *cri.Image) int { return strings.Compare(a.GetId(), b.GetId()) })
		return r, err
	}, codes.OK, true, false},
	"StreamImages": {func(ctx context.Context, k *client, _, _ string) (proto.Message, error) {
		s, err := k.images.StreamImages(ctx, &cri.StreamImagesRequest{Filter: &cri.ImageFilter{Image: &cri.ImageSpec{Image: suite.image}}})
		return drained(s, err)
	}, codes.OK, true, true},
	"ImageStatus": {func(ctx context.Context, k *client, _, _ string) (proto.Message, error) {
		return k.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: suite.image}})
	}, codes.OK, true, false},
	"ImageFsInfo": {func(ctx context.Context, k *client, _, _ string) (proto.Message, error) {
		return k.images.ImageFsInfo(ctx, &cri.ImageFsInfoRequest{})
	}, codes.OK, false, false},
}

// drained reads a stream to its end. Its last message stands for all: the tests
// filter by an id or a name, so there is one.
func drained[T any](stream grpc.ServerStreamingClient[T], err error) (proto.Message, error) {
	if err != nil {
		return nil, err
	}
	var last proto.Message
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return nil, err
		}
		last = any(m).(proto.Message)
	}
}

// TestAskAgain asks every question twice, ten times at once, and of what is gone.
func TestAskAgain(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	c := p.container(idle)
	gone := k.pod()
	goneContainer := gone.container(idle)
	k.must("remove the pod", k.removePod(k.Context(), gone.id))
	for name, q := range questions {
		k.sub(name, func(k *kubelet) {
			first, err := q.ask(k.Context(), k.client, p.id, c.id)
			if q.late && status.Code(err) == codes.Unimplemented {
				k.Log(err)
				return
			}
			k.must("asked", err)
			second, err := q.ask(k.Context(), k.client, p.id, c.id)
			k.must("asked again", err)
			if q.same && !proto.Equal(first, second) {
				k.Errorf("asked again it says %v, before it was %v", second, first)
			}
			k.must("asked ten times at once", allOf(together(func() error {
				_, err := q.ask(k.Context(), k.client, p.id, c.id)
				return err
			})))
			for _, of := range [][2]string{{gone.id, goneContainer.id}, {strings.Repeat("f", 64), strings.Repeat("e", 64)}} {
				_, err := q.ask(k.Context(), k.client, of[0], of[1])
				k.wantCode("asked of what is gone", err, q.gone)
			}
		})
	}
}

// changes are the calls that repeat_test.go repeats.
var changes = []string{
	"RunPodSandbox", "StopPodSandbox", "RemovePodSandbox", "CreateContainer", "StartContainer", "StopContainer", "RemoveContainer",
	"UpdateContainerResources", "UpdatePodSandboxResources", "ReopenContainerLog", "UpdateRuntimeConfig", "PullImage", "RemoveImage",
}

// unrepeated are the calls that no kubelet repeats, or that have no end.
var unrepeated = []string{"CheckpointContainer", "CheckpointPod", "RestorePod", "GetContainerEvents"}

// TestEveryCallIsRepeated holds the lists against CRI's.
func TestEveryCallIsRepeated(t *testing.T) {
	for _, service := range []grpc.ServiceDesc{cri.RuntimeService_ServiceDesc, cri.ImageService_ServiceDesc} {
		var names []string
		for _, m := range service.Methods {
			names = append(names, m.MethodName)
		}
		for _, s := range service.Streams {
			names = append(names, s.StreamName)
		}
		for _, name := range names {
			if _, asked := questions[name]; !asked && !slices.Contains(changes, name) && !slices.Contains(unrepeated, name) {
				t.Errorf("%s is neither repeated nor left out on purpose", name)
			}
		}
	}
}
