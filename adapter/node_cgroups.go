// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"maps"
	"math"
	"slices"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/adapter/cgroup"
)

// NodeCgroups are the control groups of this node. What has to be remembered is
// kept in the folder, which need not exist yet.
func NodeCgroups(folder string) (Cgroups, error) {
	mounted, err := cgroup.Mounted()
	if err != nil {
		return nil, err
	}
	return nodeCgroups{cgroup.NewStore(folder), mounted}, nil
}

type nodeCgroups struct {
	*cgroup.Store
	*cgroup.Hierarchies
}

func (n nodeCgroups) Abilities() (hugePages, unified []string, err error) {
	if n.Hugetlb() {
		hugePages = n.HugePageSizes()
	}
	unified, err = n.UnifiedControllers()
	return hugePages, unified, err
}

func (n nodeCgroups) Apply(ctx context.Context, pid int, l cgroup.Limits, driver string) (before cgroup.Limits, err error) {
	group, err := n.Of(pid)
	if err != nil {
		return before, err
	}
	if before, err = limitsOf(group, l); err != nil {
		return before, err
	}
	return before, group.Apply(ctx, l, driver)
}

// limitsOf are the limits that a group has of the kinds that others have.
func limitsOf(group *cgroup.Group, others cgroup.Limits) (cgroup.Limits, error) {
	now, err := group.Limits()
	if err != nil {
		return cgroup.Limits{}, err
	}
	out := cgroup.Limits{HugePages: map[string]uint64{}, Unified: group.ReadUnified(slices.Collect(maps.Keys(others.Unified)))}
	for size := range others.HugePages {
		out.HugePages[size] = math.MaxUint64 // which the kernel takes for no limit
	}
	for _, l := range now.GetHugepageLimits() {
		if _, asked := others.HugePages[l.GetPageSize()]; asked {
			out.HugePages[l.GetPageSize()] = l.GetLimit()
		}
	}
	return out, nil
}

func (n nodeCgroups) Limits(pid int, unified []string) (*cri.LinuxContainerResources, error) {
	group, err := n.Of(pid)
	if err != nil {
		return nil, err
	}
	limits, err := group.Limits()
	if err != nil {
		return nil, err
	}
	if len(unified) > 0 {
		limits.Unified = group.ReadUnified(unified)
	}
	return limits, nil
}

func (n nodeCgroups) Usage(pid int) (*cgroup.Usage, error) {
	group, err := n.Of(pid)
	if err != nil {
		return nil, err
	}
	return group.Usage()
}

func (n nodeCgroups) MemoryInUse(pid int) (uint64, error) {
	group, err := n.Of(pid)
	if err != nil {
		return 0, err
	}
	return group.MemoryInUse()
}
