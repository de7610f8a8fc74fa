// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"

	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// sandboxOOMScoreAdj keeps the pause process, and with it the pod's
	// namespaces, alive when memory is short. Every runtime uses the same value
	// (kubelet: pkg/kubelet/qos/policy.go).
	sandboxOOMScoreAdj = -998
	// sandboxCPUShares is the least that the kernel accepts; pause only sleeps.
	sandboxCPUShares = 2
	// leastMemory is dockerd's linuxMinMemory.
	leastMemory = 6 << 20
	// oomScoreMin and oomScoreMax: proc(5), oom_score_adj.
	oomScoreMin, oomScoreMax = -1000, 1000
)

// resources are the limits of a container; r may be nil.
func resources(r *cri.LinuxContainerResources) container.Resources {
	return container.Resources{
		CPUPeriod:  r.GetCpuPeriod(),
		CPUQuota:   r.GetCpuQuota(),
		CPUShares:  r.GetCpuShares(),
		CpusetCpus: r.GetCpusetCpus(),
		CpusetMems: r.GetCpusetMems(),
		Memory:     r.GetMemoryLimitInBytes(),
		MemorySwap: memorySwap(r),
	}
}

// memorySwap is the limit of memory and swap together. Where CRI sets none it
// is the memory limit, so that the container gets no swap; Docker's own default
// would be as much swap again as memory.
func memorySwap(r *cri.LinuxContainerResources) int64 {
	if r.GetMemorySwapLimitInBytes() != 0 {
		return r.GetMemorySwapLimitInBytes()
	}
	return r.GetMemoryLimitInBytes()
}

// Update changes a container's limits.
type Update struct {
	Engine container.UpdateConfig
	Cgroup CgroupLimits
}

// UpdateBody changes a running container's limits. What is zero stays as it is.
func UpdateBody(f Facts, r *cri.LinuxContainerResources) (Update, []Notice, error) {
	var p problems
	checkResources(&p, f, "linux", r)
	if r.GetMemorySwapLimitInBytes() == -1 {
		p.lack("linux.memory_swap_limit_in_bytes", "-1: the engine does not lift this limit from a container that it has started; set a number")
	}
	limits, notices := cgroupLimits(f, "linux", r)
	return Update{container.UpdateConfig{Resources: resources(r)}, limits}, notices, p.err()
}

// RestoreBody sets a container's limits to what the engine held before an update.
func RestoreBody(h *container.HostConfig) container.UpdateConfig {
	return container.UpdateConfig{Resources: container.Resources{
		CPUPeriod: h.CPUPeriod, CPUQuota: h.CPUQuota, CPUShares: h.CPUShares,
		CpusetCpus: h.CpusetCpus, CpusetMems: h.CpusetMems,
		Memory: h.Memory, MemorySwap: h.MemorySwap,
	}}
}

func checkResources(p *problems, f Facts, field string, r *cri.LinuxContainerResources) {
	for _, v := range []struct {
		name  string
		value int64
		least int64
	}{
		{"cpu_period", r.GetCpuPeriod(), 0},
		{"cpu_quota", r.GetCpuQuota(), -1}, // -1 lifts the limit
		{"cpu_shares", r.GetCpuShares(), 0},
		{"memory_limit_in_bytes", r.GetMemoryLimitInBytes(), 0},
		{"memory_swap_limit_in_bytes", r.GetMemorySwapLimitInBytes(), -1}, // -1 is unlimited swap
	} {
		if v.value < v.least {
			p.add(field+"."+v.name, "%d is below %d", v.value, v.least)
		}
	}
	if m := r.GetMemoryLimitInBytes(); m > 0 && m < leastMemory {
		p.add(field+".memory_limit_in_bytes", "%d is below %d, the least that the engine takes", m, leastMemory)
	}
	if m, s := r.GetMemoryLimitInBytes(), r.GetMemorySwapLimitInBytes(); s > 0 && s < m {
		p.add(field+".memory_swap_limit_in_bytes", "%d, which is memory and swap together, is below the memory limit of %d", s, m)
	}
	checkCgroupLimits(p, f, field, r)
	if s := r.GetOomScoreAdj(); s < oomScoreMin || s > oomScoreMax {
		p.add(field+".oom_score_adj", "%d is outside %d to %d", s, oomScoreMin, oomScoreMax)
	}
}

// oomScore is the nearest OOM score adjustment that the engine may set. The
// kernel lets a process without CAP_SYS_RESOURCE not go below its own.
func oomScore(f Facts, field string, want int) (int, []Notice) {
	if want >= f.OOMScoreFloor {
		return want, nil
	}
	return f.OOMScoreFloor, []Notice{{field, fmt.Sprintf("the engine lacks CAP_SYS_RESOURCE: %d instead of %d", f.OOMScoreFloor, want)}}
}

// statusResources are the limits that the engine holds for a container; the
// kernel's own are another package's to read.
func statusResources(h *container.HostConfig) *cri.ContainerResources {
	return &cri.ContainerResources{Linux: &cri.LinuxContainerResources{
		CpuPeriod:              h.CPUPeriod,
		CpuQuota:               h.CPUQuota,
		CpuShares:              h.CPUShares,
		CpusetCpus:             h.CpusetCpus,
		CpusetMems:             h.CpusetMems,
		MemoryLimitInBytes:     h.Memory,
		MemorySwapLimitInBytes: h.MemorySwap,
		OomScoreAdj:            int64(h.OomScoreAdj),
	}}
}
