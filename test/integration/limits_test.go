// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// hugetlb is where a container's limits of huge pages are, by the hierarchy that
// the controller is on, and the names of the files there.
func (n *node) hugetlb(c *workload) (dir, limit, reserved string) {
	n.Helper()
	for line := range strings.Lines(c.proc("cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, place := range []struct{ controllers, root, limit, reserved string }{
			{"hugetlb", "/sys/fs/cgroup/hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.rsvd.limit_in_bytes"},
			{"", "/sys/fs/cgroup/unified", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"},
			{"", "/sys/fs/cgroup", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"},
		} {
			dir := filepath.Join(place.root, parts[2])
			if _, err := os.Stat(filepath.Join(dir, place.limit)); err == nil && parts[1] == place.controllers {
				return dir, place.limit, place.reserved
			}
		}
	}
	return "", "", ""
}

// needHugetlb skips where the kernel does not limit huge pages.
func needHugetlb(t *testing.T) {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup/hugetlb", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		text, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
		if err == nil && strings.Contains(string(text), "hugetlb") {
			return
		}
	}
	if _, err := os.Stat("/sys/fs/cgroup/hugetlb/cgroup.procs"); err != nil {
		t.Skip("no hierarchy of control groups has the controller hugetlb")
	}
	if _, err := os.Stat("/sys/kernel/mm/hugepages/hugepages-2048kB"); err != nil {
		t.Skip("this machine has no huge pages of 2 MB")
	}
}

func pages(size string, limit uint64) []*cri.HugepageLimit {
	return []*cri.HugepageLimit{{PageSize: size, Limit: limit}}
}

// TestHugePages: the limits are in the container's cgroup, in its status, and
// still there after everything was killed that could have set them.
func TestHugePages(t *testing.T) {
	needHugetlb(t)
	n := newNode(t)
	p := n.pod(inCgroup)
	c := p.container(idle, func(c *cri.ContainerConfig) { c.Linux.Resources.HugepageLimits = pages("2MB", 4<<20) })
	dir, limit, reserved := n.hugetlb(c)
	want := func(bytes uint64) {
		n.Helper()
		for _, file := range []string{limit, reserved} {
			if got := n.firstWord(filepath.Join(dir, file)); got != strconv.FormatUint(bytes, 10) {
				n.Errorf("%s is %s, want %d", file, got, bytes)
			}
		}
		if got := c.status().GetResources().GetLinux().GetHugepageLimits(); len(got) != 1 || got[0].GetPageSize() != "2MB" || got[0].GetLimit() != bytes {
			n.Errorf("status says %v, want %d", got, bytes)
		}
	}
	want(4 << 20)
	n.update(c, &cri.LinuxContainerResources{HugepageLimits: pages("2MB", 2<<20)})
	want(2 << 20)
	// A daemon that was killed before it set them sets them when it is back, and
	// knows of the update.
	n.must("change the limit", os.WriteFile(filepath.Join(dir, limit), []byte("8388608"), 0))
	n.restart(syscall.SIGKILL)
	c = c.in(n)
	eventually(n, "the limit is set again", func() bool { return n.firstWord(filepath.Join(dir, limit)) == "2097152" })
	want(2 << 20)
}

// TestNoHugePages is what kubelets ask for with every container.
func TestNoHugePages(t *testing.T) {
	n := newNode(t)
	c := n.pod().container(idle, func(c *cri.ContainerConfig) {
		c.Linux.Resources.HugepageLimits = append(pages("2MB", 0), pages("1GB", 0)...)
	})
	if dir, limit, _ := n.hugetlb(c); dir != "" {
		eventually(n, "they are forbidden", func() bool { return n.firstWord(filepath.Join(dir, limit)) == "0" })
	}
}

// TestUnified sets a file of cgroup version 2. Here that hierarchy has the one
// controller of huge pages, or all of them.
func TestUnified(t *testing.T) {
	needHugetlb(t)
	n := newNode(t)
	p := n.pod(inCgroup)
	const key = "hugetlb.2MB.max"
	config := p.containerConfig(idle, func(c *cri.ContainerConfig) {
		c.Linux.Resources.Unified = map[string]string{key: "2097152"}
	})
	if _, err := os.Stat("/sys/fs/cgroup/hugetlb/cgroup.procs"); err == nil {
		_, err := p.tryCreate(config)
		n.wantRefusal(err, codes.FailedPrecondition, "config.linux.resources.unified["+key+"]")
		return
	}
	c := p.create(config)
	c.start()
	dir, _, _ := n.hugetlb(c)
	if got := n.firstWord(filepath.Join(dir, key)); got != "2097152" {
		n.Errorf("%s is %s", key, got)
	}
	n.update(c, &cri.LinuxContainerResources{Unified: map[string]string{key: "4194304"}})
	if got := c.status().GetResources().GetLinux().GetUnified()[key]; got != "4194304" {
		n.Errorf("status says %s", got)
	}
	// A value that the kernel refuses, with one that the engine would take.
	before := c.status().GetResources()
	_, err := n.tryUpdate(c, &cri.LinuxContainerResources{CpuShares: 77, Unified: map[string]string{key: "lots"}})
	n.wantRefusal(err, codes.InvalidArgument, key)
	// And the reverse.
	_, err = n.tryUpdate(c, &cri.LinuxContainerResources{CpusetCpus: "4000", Unified: map[string]string{key: "0"}})
	n.wantRefusal(err, codes.InvalidArgument, "4000")
	if now := c.status().GetResources(); fmt.Sprint(now) != fmt.Sprint(before) {
		n.Errorf("updates that failed left %v, before it was %v", now, before)
	}
}

func (n *node) firstWord(path string) string {
	n.Helper()
	text, err := os.ReadFile(path)
	n.must("read the cgroup", err)
	return strings.TrimSpace(string(text))
}

func (n *node) tryUpdate(c *workload, r *cri.LinuxContainerResources) (*cri.UpdateContainerResourcesResponse, error) {
	return n.runtime.UpdateContainerResources(n.Context(), &cri.UpdateContainerResourcesRequest{ContainerId: c.id, Linux: r})
}

func (n *node) update(c *workload, r *cri.LinuxContainerResources) {
	n.Helper()
	_, err := n.tryUpdate(c, r)
	n.must("UpdateContainerResources", err)
}

// TestUpdates changes limits up and down and looks where the kernel has them.
func TestUpdates(t *testing.T) {
	needCgroupV1(t)
	n := newNode(t)
	p := n.pod(inCgroup)
	c := p.container(idle, func(c *cri.ContainerConfig) { c.Linux.Resources.MemoryLimitInBytes = 64 * mebibyte })
	for _, step := range []struct {
		about string
		asked *cri.LinuxContainerResources
		want  map[string]string
	}{
		{"memory up", &cri.LinuxContainerResources{MemoryLimitInBytes: 128 * mebibyte},
			map[string]string{"memory/memory.limit_in_bytes": "134217728", "memory/memory.memsw.limit_in_bytes": "134217728"}},
		{"memory down", &cri.LinuxContainerResources{MemoryLimitInBytes: 32 * mebibyte},
			map[string]string{"memory/memory.limit_in_bytes": "33554432", "memory/memory.memsw.limit_in_bytes": "33554432"}},
		{"swap up", &cri.LinuxContainerResources{MemoryLimitInBytes: 32 * mebibyte, MemorySwapLimitInBytes: 64 * mebibyte},
			map[string]string{"memory/memory.limit_in_bytes": "33554432", "memory/memory.memsw.limit_in_bytes": "67108864"}},
		{"memory above the swap of before", &cri.LinuxContainerResources{MemoryLimitInBytes: 96 * mebibyte},
			map[string]string{"memory/memory.limit_in_bytes": "100663296", "memory/memory.memsw.limit_in_bytes": "100663296"}},
		{"a CPU quota", &cri.LinuxContainerResources{CpuQuota: 30000, CpuPeriod: 50000},
			map[string]string{"cpu/cpu.cfs_quota_us": "30000", "cpu/cpu.cfs_period_us": "50000", "memory/memory.limit_in_bytes": "100663296"}},
		{"no CPU quota", &cri.LinuxContainerResources{CpuQuota: -1}, map[string]string{"cpu/cpu.cfs_quota_us": "-1"}},
		{"shares", &cri.LinuxContainerResources{CpuShares: 2}, map[string]string{"cpu/cpu.shares": "2"}},
		{"processors", &cri.LinuxContainerResources{CpusetCpus: "0", CpusetMems: "0"}, map[string]string{"cpuset/cpuset.cpus": "0", "cpuset/cpuset.mems": "0"}},
	} {
		n.sub(step.about, func(n *node) {
			n.update(c.in(n), step.asked)
			n.update(c.in(n), step.asked) // a repeated call changes nothing
			n.wantCgroup(p, c.id, step.want)
		})
	}
	got := c.status().GetResources().GetLinux()
	if got.GetMemoryLimitInBytes() != 96*mebibyte || got.GetMemorySwapLimitInBytes() != 96*mebibyte || got.GetCpuQuota() != -1 ||
		got.GetCpuPeriod() != 50000 || got.GetCpuShares() != 2 || got.GetCpusetCpus() != "0" || got.GetCpusetMems() != "0" {
		n.Errorf("status says %v", got)
	}
}

// TestStatusIsTheKernels: somebody changes a limit behind our back.
func TestStatusIsTheKernels(t *testing.T) {
	needCgroupV1(t)
	n := newNode(t)
	p := n.pod(inCgroup)
	c := p.container(idle, func(c *cri.ContainerConfig) { c.Linux.Resources.CpuShares = 512 })
	path := filepath.Join("/sys/fs/cgroup/cpu", p.config.GetLinux().GetCgroupParent(), c.id, "cpu.shares")
	n.must("change the shares", os.WriteFile(path, []byte("600"), 0))
	if got := c.status().GetResources().GetLinux().GetCpuShares(); got != 600 {
		n.Errorf("status says %d", got)
	}
}

// TestMemoryBelowUse: the kernel would have to kill processes.
func TestMemoryBelowUse(t *testing.T) {
	n := newNode(t)
	// The shell keeps what it reads, 20 MB of zeros made into letters.
	c := n.pod(inCgroup).container("x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo full; "+idle, func(c *cri.ContainerConfig) {
		c.Linux.Resources.MemoryLimitInBytes = 128 * mebibyte
	})
	c.awaitLog("full\n")
	before := c.status().GetResources()
	_, err := n.tryUpdate(c, &cri.LinuxContainerResources{MemoryLimitInBytes: 8 * mebibyte, CpuShares: 77})
	n.wantRefusal(err, codes.FailedPrecondition, "linux.memory_limit_in_bytes: 8388608 is below the ")
	if now := c.status().GetResources(); fmt.Sprint(now) != fmt.Sprint(before) || !c.running() {
		n.Errorf("after the refusal: %v, before: %v", now, before)
	}
	n.update(c, &cri.LinuxContainerResources{MemoryLimitInBytes: 64 * mebibyte})
}
