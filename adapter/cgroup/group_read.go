// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits reads the container's limits. A field is zero if there is no limit, or
// no file to tell it; but a CPU quota is -1 if there is none, which is how CRI
// spells that. CpuShares is zero where the node has a weight instead (version 2),
// from which they cannot be told exactly. Unified is nil: see ReadUnified. It is
// an errdefs.ErrNotFound if the process has ended.
func (g *Group) Limits() (*cri.LinuxContainerResources, error) {
	var r reader
	l := &cri.LinuxContainerResources{
		CpuShares:      r.number(g.v1("cpu.shares")),
		CpusetCpus:     r.text(g.v1("cpuset.cpus"), g.v2("cpuset.cpus")),
		CpusetMems:     r.text(g.v1("cpuset.mems"), g.v2("cpuset.mems")),
		HugepageLimits: g.hugepageLimits(&r),
	}
	l.CpuQuota, l.CpuPeriod = g.quota(&r)
	l.MemoryLimitInBytes, l.MemorySwapLimitInBytes = g.memory(&r)
	// Last, as without the process the others tell nothing.
	adj, err := read(proc(g.pid, "oom_score_adj"))
	if err != nil {
		return nil, fmt.Errorf("read limits of process %d: %w", g.pid, err)
	}
	l.OomScoreAdj = r.parse(adj)
	if r.err != nil {
		return nil, fmt.Errorf("read limits of process %d: %w", g.pid, r.err)
	}
	return l, nil
}

func (g *Group) quota(r *reader) (quota, period int64) {
	if both := strings.Fields(r.text(g.v2("cpu.max"))); len(both) == 2 {
		if both[0] == "max" {
			both[0] = "-1"
		}
		return r.parse(both[0]), r.parse(both[1])
	}
	return r.number(g.v1("cpu.cfs_quota_us")), r.number(g.v1("cpu.cfs_period_us"))
}

// memory is the limit of memory, and that of memory and swap together. Version 2
// limits swap alone.
func (g *Group) memory(r *reader) (memory, both int64) {
	memory, limited := r.limit(g.v1("memory.limit_in_bytes"), g.v2("memory.max"))
	if swap, swapLimited := r.limit(g.v2("memory.swap.max")); limited && swapLimited {
		return memory, memory + swap
	}
	return memory, r.number(g.v1("memory.memsw.limit_in_bytes"))
}

func (g *Group) hugepageLimits(r *reader) (all []*cri.HugepageLimit) {
	for _, size := range g.hierarchies.pageSizes {
		used, _ := g.hugePages(size)
		if limit, limited := r.limit(used); limited {
			all = append(all, &cri.HugepageLimit{PageSize: size, Limit: uint64(limit)})
		}
	}
	return all
}

// ReadUnified reads the values of those files of version 2 that the group has.
func (g *Group) ReadUnified(files []string) map[string]string {
	values := map[string]string{}
	for _, file := range files {
		if !plain(file) {
			continue
		}
		if value, err := read(g.v2(file)); err == nil {
			values[file] = value
		}
	}
	return values
}

// MemoryInUse is how much memory the container uses that the kernel cannot easily
// take back: all but file pages that were not used lately. The kubelet calls it
// the working set.
func (g *Group) MemoryInUse() (uint64, error) {
	r := &reader{}
	memory := g.memoryUsage(r, 0)
	if memory.UsageBytes == nil && r.err == nil {
		r.err = g.noMemory()
	}
	if r.err != nil {
		return 0, fmt.Errorf("read the memory in use by process %d: %w", g.pid, r.err)
	}
	return memory.WorkingSetBytes.GetValue(), nil
}

// noMemory is why there are no files of the memory controller.
func (g *Group) noMemory() error {
	if err := running(g.pid); err != nil {
		return err
	}
	return fmt.Errorf("its cgroup has no memory controller: %w", errdefs.ErrFailedPrecondition)
}

// field is the value in a line of a name and a value.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// reader reads files of which some may be missing. It keeps the first other error.
type reader struct{ err error }

// text is that of the first file that is there. A path may be "".
func (r *reader) text(paths ...string) string {
	for _, path := range paths {
		if path == "" {
			continue
		}
		text, err := read(path)
		if err == nil {
			return text
		}
		if !gone(err) {
			r.keep(err)
		}
	}
	return ""
}

// limit is the number in the first file that is there, and whether it limits
// anything.
func (r *reader) limit(paths ...string) (n int64, limited bool) {
	text := r.text(paths...)
	if text == "" || text == "max" {
		return 0, false
	}
	n = r.parse(text)
	// Version 1, and hugetlb in either before its first limit, say the most that
	// a counter of pages holds, rounded down: that depends on the size of pages.
	if n >= 1<<62 {
		return 0, false
	}
	return n, true
}

// number is limit, with zero for none.
func (r *reader) number(paths ...string) int64 {
	n, _ := r.limit(paths...)
	return n
}

func (r *reader) parse(text string) int64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.keep(err)
	}
	return n
}

func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}
