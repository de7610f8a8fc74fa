// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const mebibyte = 1 << 20

// TestResourcesReadBack compares the limits that were asked for with those in
// the status, before the start and after it, and with the kernel's.
func TestResourcesReadBack(t *testing.T) {
	k := newKubelet(t)
	asked := &cri.LinuxContainerResources{
		MemoryLimitInBytes: 64 * mebibyte, CpuShares: 512, CpuPeriod: 100000, CpuQuota: 50000, CpusetCpus: "0", CpusetMems: "0", OomScoreAdj: 500,
	}
	c := k.pod().create(idle, func(c *cri.ContainerConfig) { c.Linux.Resources = asked })
	c.wantLimits("created", asked)
	k.must("StartContainer", c.start())
	c.wantLimits("started", asked)
	c.wantKernel(asked)
	if got := strings.TrimSpace(c.proc("oom_score_adj")); got != "500" {
		k.Errorf("the score is %s, want 500", got)
	}
}

// wantLimits compares the limits in the status with those that were asked for.
func (c *container) wantLimits(when string, want *cri.LinuxContainerResources) {
	c.Helper()
	if err := differ(want, c.status().GetResources().GetLinux()); err != nil {
		c.Errorf("%s, the status says: %v", when, err)
	}
}

// differ compares the limits that are asked for; what is 0 or empty is not.
func differ(want, got *cri.LinuxContainerResources) error {
	var wrong []string
	for name, pair := range map[string][2]int64{
		"memory limit":  {want.GetMemoryLimitInBytes(), got.GetMemoryLimitInBytes()},
		"swap limit":    {want.GetMemorySwapLimitInBytes(), got.GetMemorySwapLimitInBytes()},
		"CPU quota":     {want.GetCpuQuota(), got.GetCpuQuota()},
		"CPU period":    {want.GetCpuPeriod(), got.GetCpuPeriod()},
		"OOM score":     {want.GetOomScoreAdj(), got.GetOomScoreAdj()},
		"weight of CPU": {weight(want.GetCpuShares()), weight(got.GetCpuShares())},
	} {
		if pair[0] != 0 && pair[0] != pair[1] {
			wrong = append(wrong, fmt.Sprintf("%s %d, want %d", name, pair[1], pair[0]))
		}
	}
	for name, pair := range map[string][2]string{"processors": {want.GetCpusetCpus(), got.GetCpusetCpus()}, "memory nodes": {want.GetCpusetMems(), got.GetCpusetMems()}} {
		if pair[0] != "" && pair[0] != pair[1] {
			wrong = append(wrong, fmt.Sprintf("%s %q, want %q", name, pair[1], pair[0]))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return nil
}

// weight is what cgroup version 2 makes of CPU shares: several of them are one
// weight, and the shares that a status tells may be any of these.
func weight(shares int64) int64 {
	if shares == 0 {
		return 0
	}
	return 1 + (max(shares, 2)-2)*9999/262142
}

// wantKernel compares limits with the files of the container's cgroup.
func (c *container) wantKernel(want *cri.LinuxContainerResources) {
	c.Helper()
	check := func(name, got, want string) {
		c.Helper()
		if got != want {
			c.Errorf("the kernel's %s is %s, want %s", name, got, want)
		}
	}
	if memory := want.GetMemoryLimitInBytes(); memory != 0 {
		check("memory limit", c.limit("memory", "memory.limit_in_bytes", "memory.max"), strconv.FormatInt(memory, 10))
	}
	if cpus := want.GetCpusetCpus(); cpus != "" {
		check("processors", c.limit("cpuset", "cpuset.cpus", "cpuset.cpus"), cpus)
	}
	_, version := c.cgroup("cpu")
	if shares := want.GetCpuShares(); shares != 0 && version == 1 {
		check("shares", c.limit("cpu", "cpu.shares", ""), strconv.FormatInt(shares, 10))
	}
	if quota := want.GetCpuQuota(); quota != 0 && version == 1 {
		check("quota", c.limit("cpu", "cpu.cfs_quota_us", ""), strconv.FormatInt(quota, 10))
	} else if quota > 0 {
		check("quota", c.limit("cpu", "", "cpu.max"), fmt.Sprintf("%d %d", quota, want.GetCpuPeriod()))
	}
}

// TestResizeInPlace is what the kubelet does to a running container, one limit
// after another; those that it does not name stay.
func TestResizeInPlace(t *testing.T) {
	k := newKubelet(t)
	now := &cri.LinuxContainerResources{MemoryLimitInBytes: 64 * mebibyte, CpuShares: 512, CpuPeriod: 100000, CpuQuota: 50000}
	c := k.pod().container(idle, func(c *cri.ContainerConfig) { c.Linux.Resources = now })
	pid := c.pid()
	for _, step := range []struct {
		about string
		asked *cri.LinuxContainerResources
		edit  func(*cri.LinuxContainerResources)
	}{
		{"memory up", &cri.LinuxContainerResources{MemoryLimitInBytes: 128 * mebibyte},
			func(r *cri.LinuxContainerResources) { r.MemoryLimitInBytes = 128 * mebibyte }},
		{"memory down", &cri.LinuxContainerResources{MemoryLimitInBytes: 32 * mebibyte},
			func(r *cri.LinuxContainerResources) { r.MemoryLimitInBytes = 32 * mebibyte }},
		{"shares", &cri.LinuxContainerResources{CpuShares: 1024}, func(r *cri.LinuxContainerResources) { r.CpuShares = 1024 }},
		{"quota up", &cri.LinuxContainerResources{CpuQuota: 70000, CpuPeriod: 100000}, func(r *cri.LinuxContainerResources) { r.CpuQuota = 70000 }},
		{"quota down", &cri.LinuxContainerResources{CpuQuota: 20000, CpuPeriod: 100000}, func(r *cri.LinuxContainerResources) { r.CpuQuota = 20000 }},
		{"processors", &cri.LinuxContainerResources{CpusetCpus: "0"}, func(r *cri.LinuxContainerResources) { r.CpusetCpus = "0" }},
		{"all at once", &cri.LinuxContainerResources{MemoryLimitInBytes: 96 * mebibyte, CpuShares: 256, CpuQuota: 60000, CpuPeriod: 50000, CpusetCpus: "0"},
			func(r *cri.LinuxContainerResources) {
				r.MemoryLimitInBytes, r.CpuShares, r.CpuQuota, r.CpuPeriod = 96*mebibyte, 256, 60000, 50000
			}},
	} {
		k.sub(step.about, func(k *kubelet) {
			c := c.in(k)
			k.must("UpdateContainerResources", c.update(step.asked))
			step.edit(now)
			c.wantLimits(step.about, now)
			c.wantKernel(now)
		})
	}
	if c.pid() != pid || c.status().GetMetadata().GetAttempt() != 0 {
		k.Error("the container was started anew")
	}
}

// TestResizeBeforeStart: an update of a created container holds when it starts.
func TestResizeBeforeStart(t *testing.T) {
	k := newKubelet(t)
	c := k.pod().create(idle, limited(func(r *cri.LinuxContainerResources) { r.MemoryLimitInBytes = 64 * mebibyte }))
	want := &cri.LinuxContainerResources{MemoryLimitInBytes: 48 * mebibyte}
	k.must("UpdateContainerResources", c.update(want))
	c.wantLimits("updated", want)
	k.must("StartContainer", c.start())
	c.wantLimits("started", want)
	c.wantKernel(want)
}

// TestResizeRefused: limits that cannot be, and nothing of such an update stays.
func TestResizeRefused(t *testing.T) {
	k := newKubelet(t)
	now := &cri.LinuxContainerResources{MemoryLimitInBytes: 64 * mebibyte, CpuShares: 512}
	c := k.pod().container(idle, func(c *cri.ContainerConfig) { c.Linux.Resources = now })
	for name, test := range map[string]struct {
		asked *cri.LinuxContainerResources
		words []string
	}{
		"little memory":        {&cri.LinuxContainerResources{MemoryLimitInBytes: 4096, CpuShares: 77}, []string{"memory"}},
		"processors of others": {&cri.LinuxContainerResources{CpusetCpus: "4000", CpuShares: 77}, []string{"4000", "cpuset"}},
		"no quota":             {&cri.LinuxContainerResources{CpuQuota: -2, CpuShares: 77}, []string{"quota"}},
	} {
		k.sub(name, func(k *kubelet) {
			c := c.in(k)
			k.wantRefusal(c.update(test.asked), test.words...)
			c.wantLimits("after the refusal", now)
			c.wantKernel(now)
			c.wantState("after the refusal", cri.ContainerState_CONTAINER_RUNNING)
		})
	}
}

// TestOOMKilled: the reason of the end says who ended it.
func TestOOMKilled(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	little := limited(func(r *cri.LinuxContainerResources) { r.MemoryLimitInBytes = 16 * mebibyte })
	k.sub("the first process", func(k *kubelet) {
		c := p.in(k).container("", little, func(c *cri.ContainerConfig) { c.Command, c.Args = []string{"tail", "/dev/zero"}, nil })
		ended := c.awaitExit()
		// A runtime may learn of it a moment after the end.
		eventually(k, "the reason is OOMKilled", func() bool { return c.status().GetReason() == "OOMKilled" })
		if ended.GetExitCode() != 137 {
			k.Errorf("the exit code is %d, want 137", ended.GetExitCode())
		}
	})
	k.sub("not by other signals", func(k *kubelet) {
		c := p.in(k).container("kill -KILL $$", little, func(c *cri.ContainerConfig) {
			// In the pod's namespace it is not the first process, which no signal from inside ends.
			c.Linux.SecurityContext.NamespaceOptions.Pid = cri.NamespaceMode_POD
		})
		if ended := c.awaitExit(); ended.GetReason() == "OOMKilled" || ended.GetReason() == "Completed" || ended.GetExitCode() != 137 {
			k.Errorf("it ended with %d, %q", ended.GetExitCode(), ended.GetReason())
		}
	})
	k.sub("not by an end of its own", func(k *kubelet) {
		for script, want := range map[string]string{"exit 0": "Completed", "exit 3": "Error"} {
			if ended := p.in(k).container(script, little).awaitExit(); ended.GetReason() != want {
				k.Errorf("%s: the reason is %q, want %s", script, ended.GetReason(), want)
			}
		}
	})
}
