// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"maps"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestLimits(t *testing.T) {
	v1 := []string{"cpu", "cpuset", "memory", "hugetlb"}
	for _, test := range []struct {
		name string
		g    *Group
		want *cri.LinuxContainerResources
	}{
		{"version 1", fakeV1(t, map[string]string{
			"cpu.shares": "512\n", "cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n", "cpuset.cpus": "0-1\n", "cpuset.mems": "0\n",
			"memory.limit_in_bytes": "1048576\n", "memory.memsw.limit_in_bytes": "2097152\n",
			"hugetlb.2MB.limit_in_bytes": "0\n", "hugetlb.1GB.limit_in_bytes": "9223372035781033984\n",
		}, v1...), &cri.LinuxContainerResources{
			CpuShares: 512, CpuQuota: 50000, CpuPeriod: 100000, CpusetCpus: "0-1", CpusetMems: "0",
			MemoryLimitInBytes: 1 << 20, MemorySwapLimitInBytes: 2 << 20, HugepageLimits: []*cri.HugepageLimit{{PageSize: "2MB"}},
		}},
		{"version 1, no limits", fakeV1(t, map[string]string{
			"cpu.shares": "1024\n", "cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n",
			"memory.limit_in_bytes": "9223372036854771712\n", "memory.memsw.limit_in_bytes": "9223372036854771712\n",
		}, v1...), &cri.LinuxContainerResources{CpuShares: 1024, CpuQuota: -1, CpuPeriod: 100000}},
		{"version 2", fake(t, map[string]string{
			"cpu.max": "50000 100000\n", "cpu.weight": "20\n", "cpuset.cpus": "1\n", "cpuset.mems": "\n",
			"memory.max": "1048576\n", "memory.swap.max": "0\n", "hugetlb.2MB.max": "max\n", "hugetlb.1GB.max": "1073741824\n",
		}), &cri.LinuxContainerResources{
			CpuQuota: 50000, CpuPeriod: 100000, CpusetCpus: "1", MemoryLimitInBytes: 1 << 20, MemorySwapLimitInBytes: 1 << 20,
			HugepageLimits: []*cri.HugepageLimit{{PageSize: "1GB", Limit: 1 << 30}},
		}},
		{"version 2, no limits", fake(t, map[string]string{
			"cpu.max": "max 100000\n", "memory.max": "max\n", "memory.swap.max": "4096\n", "hugetlb.2MB.max": "9223372036854771712\n",
		}), &cri.LinuxContainerResources{CpuQuota: -1, CpuPeriod: 100000}},
		{"version 2, limits but for swap", fake(t, map[string]string{"memory.max": "4096\n", "memory.swap.max": "max\n"}), &cri.LinuxContainerResources{MemoryLimitInBytes: 4096}},
		{"no files", fake(t, nil), &cri.LinuxContainerResources{}},
		{"no groups", &Group{hierarchies: &Hierarchies{}, pid: fake(t, nil).pid}, &cri.LinuxContainerResources{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.g.Limits()
			if err != nil {
				t.Fatal(err)
			}
			test.want.OomScoreAdj = got.OomScoreAdj // of this process, whatever it is
			if !proto.Equal(got, test.want) {
				t.Errorf("got %v\nwant %v", got, test.want)
			}
		})
	}
}

func TestLimitsThatAreNoNumbers(t *testing.T) {
	if l, err := fake(t, map[string]string{"memory.max": "lots"}).Limits(); err == nil {
		t.Errorf("got %v", l)
	}
}

func TestReadUnified(t *testing.T) {
	g := fake(t, map[string]string{"memory.high": "max\n", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cgroup.freeze": "0\n"})
	got := g.ReadUnified([]string{"memory.high", "io.max", "memory.low", "cgroup.freeze", "../cgroup.controllers"})
	if want := map[string]string{"memory.high": "max", "io.max": "8:0 rbps=1\n8:16 rbps=2"}; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMemoryInUse(t *testing.T) {
	v1 := map[string]string{"memory.usage_in_bytes": "1000\n", "memory.stat": "inactive_file 7\ntotal_inactive_file 300\n"}
	v2 := map[string]string{"memory.current": "1000\n", "memory.stat": "anon 5\ninactive_file 200\n"}
	lagging := map[string]string{"memory.current": "100\n", "memory.stat": "inactive_file 200\n"} // they are counted apart
	for want, g := range map[uint64]*Group{700: fakeV1(t, v1, "memory"), 800: fake(t, v2), 0: fake(t, lagging)} {
		if got, err := g.MemoryInUse(); err != nil || got != want {
			t.Errorf("got %d, %v, want %d", got, err, want)
		}
	}
	if got, err := fake(t, nil).MemoryInUse(); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("without the controller: %d, %v", got, err)
	}
}
