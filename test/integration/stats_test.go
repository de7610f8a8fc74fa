// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strconv"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (c *workload) stats() *cri.ContainerStats {
	c.Helper()
	r, err := c.runtime.ContainerStats(c.Context(), &cri.ContainerStatsRequest{ContainerId: c.id})
	c.must("ContainerStats", err)
	return r.GetStats()
}

// near tells whether a figure is what it should be, within a tenth.
func near(got, want uint64) bool { return got >= want-want/10 && got <= want+want/10 }

// TestContainerStats makes known loads, and compares with the kernel's own figures.
func TestContainerStats(t *testing.T) {
	needCgroupV1(t)
	n := newNode(t)
	p := n.pod(inCgroup)
	kernel := func(c *workload, controller, file string) uint64 {
		n.Helper()
		value, err := strconv.ParseUint(p.cgroup(controller, c.id, file), 10, 64)
		n.must("read the kernel's figure", err)
		return value
	}
	n.sub("memory", func(n *node) {
		c := p.in(n).container("x=$(head -c 40000000 /dev/zero | tr '\\0' x); echo full; "+idle, func(c *cri.ContainerConfig) {
			c.Linux.Resources.MemoryLimitInBytes = 256 * mebibyte
		})
		c.awaitLog("full\n")
		m := c.stats().GetMemory()
		if want := kernel(c, "memory", "memory.usage_in_bytes"); !near(m.GetUsageBytes().GetValue(), want) {
			n.Errorf("usage is %d, the kernel's %d", m.GetUsageBytes().GetValue(), want)
		}
		if rss := m.GetRssBytes().GetValue(); rss < 40_000_000 {
			n.Errorf("RSS is %d", rss)
		}
		set, available := m.GetWorkingSetBytes().GetValue(), m.GetAvailableBytes().GetValue()
		if set < 40_000_000 || set > m.GetUsageBytes().GetValue() || set+available != 256*mebibyte {
			n.Errorf("working set is %d, available %d", set, available)
		}
		if m.GetPageFaults().GetValue() == 0 || m.GetTimestamp() == 0 || m.GetMajorPageFaults() == nil {
			n.Errorf("memory: %v", m)
		}
		if s := c.stats().GetSwap(); s.GetSwapUsageBytes() == nil || s.GetTimestamp() == 0 {
			n.Errorf("swap: %v", s)
		}
	})
	n.sub("page cache is not in the working set", func(n *node) {
		c := p.in(n).container("head -c 67108864 /dev/zero >/tmp/file; cat /tmp/file >/dev/null; echo read; " + idle)
		c.awaitLog("read\n")
		m := c.stats().GetMemory()
		if m.GetUsageBytes().GetValue() < 60_000_000 || m.GetWorkingSetBytes().GetValue() > 40_000_000 {
			n.Errorf("usage is %d, working set %d", m.GetUsageBytes().GetValue(), m.GetWorkingSetBytes().GetValue())
		}
	})
	n.sub("processor", func(n *node) {
		c := p.in(n).container("while true; do true; done", func(c *cri.ContainerConfig) {
			c.Linux.Resources.CpuPeriod, c.Linux.Resources.CpuQuota = 100000, 20000
		})
		first := c.stats().GetCpu()
		var rate uint64
		within(n, time.Minute, "there is a rate", func() bool {
			rate = c.stats().GetCpu().GetUsageNanoCores().GetValue()
			return rate > 0
		})
		// A fifth of a processor; the quota may be exceeded by a tick.
		if rate < 50_000_000 || rate > 300_000_000 {
			n.Errorf("uses %d nanocores", rate)
		}
		last := c.stats().GetCpu()
		if want := kernel(c, "cpuacct", "cpuacct.usage"); last.GetUsageCoreNanoSeconds().GetValue() <= first.GetUsageCoreNanoSeconds().GetValue() ||
			!near(last.GetUsageCoreNanoSeconds().GetValue(), want) {
			n.Errorf("used %d, then %d, the kernel's %d", first.GetUsageCoreNanoSeconds().GetValue(), last.GetUsageCoreNanoSeconds().GetValue(), want)
		}
	})
	n.sub("writable layer", func(n *node) {
		c := p.in(n).container("head -c 10485760 /dev/zero >/tmp/file; echo written; " + idle)
		c.awaitLog("written\n")
		within(n, time.Minute, "the layer is measured", func() bool {
			return near(c.stats().GetWritableLayer().GetUsedBytes().GetValue(), 10485760)
		})
		w := c.stats().GetWritableLayer()
		if w.GetInodesUsed().GetValue() < 2 || w.GetFsId().GetMountpoint() == "" || w.GetTimestamp() == 0 {
			n.Errorf("writable layer: %v", w)
		}
		c.stop(0)
		if s := c.stats(); s.GetCpu() != nil || !near(s.GetWritableLayer().GetUsedBytes().GetValue(), 10485760) {
			n.Errorf("when it has ended: %v", s)
		}
	})
}

// TestListContainerStats: filters, and who is in the list.
func TestListContainerStats(t *testing.T) {
	n := newNode(t)
	p, other := n.pod(), n.pod()
	labelled := p.container(idle, func(c *cri.ContainerConfig) { c.Labels = map[string]string{"a": "b"} })
	plain := other.container(idle)
	for name, test := range map[string]struct {
		filter *cri.ContainerStatsFilter
		want   int
	}{
		"none":       {nil, 2},
		"id":         {&cri.ContainerStatsFilter{Id: plain.id[:12]}, 1},
		"pod":        {&cri.ContainerStatsFilter{PodSandboxId: p.id}, 1},
		"label":      {&cri.ContainerStatsFilter{LabelSelector: map[string]string{"a": "b"}}, 1},
		"not to be":  {&cri.ContainerStatsFilter{Id: plain.id, PodSandboxId: p.id}, 0},
		"other text": {&cri.ContainerStatsFilter{LabelSelector: map[string]string{"a": "c"}}, 0},
	} {
		n.sub(name, func(n *node) {
			r, err := n.runtime.ListContainerStats(n.Context(), &cri.ListContainerStatsRequest{Filter: test.filter})
			n.must("ListContainerStats", err)
			if len(r.GetStats()) != test.want {
				n.Errorf("%d entries, want %d", len(r.GetStats()), test.want)
			}
			for _, s := range r.GetStats() {
				if s.GetAttributes().GetMetadata().GetName() == "" || s.GetMemory().GetUsageBytes() == nil {
					n.Errorf("entry %v", s)
				}
			}
		})
	}
	if s := labelled.stats().GetAttributes(); s.GetLabels()["a"] != "b" || s.GetId() != labelled.id {
		n.Errorf("attributes %v", s)
	}
}
