// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/mountinfo"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/dockershimd/dockershimd/translate"
)

// ContainerStats reads a container's usage from the kernel. Of one that does not
// run, only the disk usage is told.
func (s *Server) ContainerStats(ctx context.Context, r *cri.ContainerStatsRequest) (*cri.ContainerStatsResponse, error) {
	c, err := s.index.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	usage, err := s.usageOf(s.awaitProcess(ctx, c))
	return &cri.ContainerStatsResponse{Stats: usage}, err
}

// ListContainerStats is ContainerStats for many. One that ends meanwhile is told
// of as one that does not run.
func (s *Server) ListContainerStats(ctx context.Context, r *cri.ListContainerStatsRequest) (*cri.ListContainerStatsResponse, error) {
	list, err := s.containerStats(ctx, r.GetFilter())
	return &cri.ListContainerStatsResponse{Stats: list}, err
}

// StreamContainerStats is ListContainerStats in portions.
func (s *Server) StreamContainerStats(r *cri.StreamContainerStatsRequest, stream grpc.ServerStreamingServer[cri.StreamContainerStatsResponse]) error {
	list, err := s.containerStats(stream.Context(), r.GetFilter())
	if err != nil {
		return err
	}
	return inPortions(list, func(part []*cri.ContainerStats) error {
		return stream.Send(&cri.StreamContainerStatsResponse{ContainerStats: part})
	})
}

func (s *Server) containerStats(ctx context.Context, f *cri.ContainerStatsFilter) ([]*cri.ContainerStats, error) {
	list := s.index.listContainers(&cri.ContainerFilter{Id: f.GetId(), PodSandboxId: f.GetPodSandboxId(), LabelSelector: f.GetLabelSelector()})
	out := []*cri.ContainerStats{}
	for _, entry := range list {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c, err := s.index.container(entry.GetId())
		if err != nil {
			continue // removed meanwhile
		}
		usage, err := s.usageOf(s.awaitProcess(ctx, c))
		if err != nil {
			klog.FromContext(ctx).Error(err, "a container is left out of statistics", "container", c.id())
			continue // the others' figures are what the node is managed by
		}
		out = append(out, usage)
	}
	return out, nil
}

// usageOf tells what a container uses. What cannot be read is left out: the
// process has ended, or has only just begun.
func (s *Server) usageOf(c *workload) (*cri.ContainerStats, error) {
	out := translate.ContainerStats(c.status)
	out.WritableLayer = s.writableLayer(c.id())
	if !c.running() || c.inspect.State.Pid == 0 {
		return out, nil
	}
	usage, err := s.cgroups.Usage(c.inspect.State.Pid)
	if errdefs.IsNotFound(err) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("usage of container %s: %w", c.id(), err)
	}
	out.Cpu, out.Memory, out.Swap, out.Io = s.rated(c.id(), usage.CPU), usage.Memory, usage.Swap, usage.IO
	return out, nil
}

// rated adds to a reading of our own how much of a processor is used now, in
// thousand millionths.
func (s *Server) rated(id string, cpu *cri.CpuUsage) *cri.CpuUsage {
	if cpu.GetUsageCoreNanoSeconds() == nil {
		return cpu
	}
	if rate, known := s.rates.PerSecond(id, time.Unix(0, cpu.Timestamp), cpu.UsageCoreNanoSeconds.Value); known {
		cpu.UsageNanoCores = &cri.UInt64Value{Value: rate}
	}
	return cpu
}

func (s *Server) writableLayer(id string) *cri.FilesystemUsage {
	size, ok := s.layers.Size(id)
	if !ok {
		return nil
	}
	return &cri.FilesystemUsage{
		Timestamp: size.At.UnixNano(), FsId: &cri.FilesystemIdentifier{Mountpoint: s.imageStore()},
		UsedBytes: &cri.UInt64Value{Value: size.Bytes}, InodesUsed: &cri.UInt64Value{Value: size.Inodes},
	}
}

// sampleEvery is how often usage is read on our own account, so that whoever
// asks gets a rate.
const sampleEvery = 10 * time.Second

// sample reads the processor time of all containers that run, over and over.
func (s *Server) sample(ctx context.Context) {
	for ctx.Err() == nil {
		ids := map[string]bool{}
		for _, c := range s.index.running() {
			ids[c.id()] = true
			_, _ = s.usageOf(c) // whoever asks for it learns of the failure
		}
		s.rates.Retain(func(id string) bool { return ids[id] })
		wait(ctx, sampleEvery)
	}
}

// measureLayers measures the writable layers of containers in the background.
func (s *Server) measureLayers(ctx context.Context) {
	s.layers.Run(ctx, func() map[string]string {
		folders := map[string]string{}
		for _, c := range s.index.running() {
			if dir := upperDir(c.inspect.State.Pid); dir != "" {
				folders[c.id()] = dir
			}
		}
		return folders
	}, func(id string) bool {
		_, here := s.index.last(id)
		return here
	})
}

// upperDir is the writable layer of a process's root, an overlay of whatever
// image store; "" where it is none.
func upperDir(pid int) string {
	file, err := os.Open(procPath(pid, "mountinfo"))
	if err != nil {
		return ""
	}
	defer file.Close()
	roots, err := mountinfo.GetMountsFromReader(file, func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != "/" || m.FSType != "overlay", false
	})
	if err != nil || len(roots) == 0 {
		return ""
	}
	return mountOption(roots[0].VFSOptions, "upperdir")
}

// mountOption is the value of an option, as in "rw,upperdir=/a,workdir=/b".
func mountOption(options, name string) string {
	for option := range strings.SplitSeq(options, ",") {
		if value, ok := strings.CutPrefix(option, name+"="); ok {
			return value
		}
	}
	return ""
}
