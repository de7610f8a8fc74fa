// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CgroupLimits are the limits that the Engine API has no fields for. They are
// written to the container's cgroup.
type CgroupLimits struct {
	// HugePages are bytes by page size, such as "2MB".
	HugePages map[string]uint64 `json:"hugePages,omitempty"`
	// Unified are values by file of cgroup version 2, such as "memory.high".
	Unified map[string]string `json:"unified,omitempty"`
}

// Empty tells that nothing was asked for.
func (l CgroupLimits) Empty() bool { return len(l.HugePages)+len(l.Unified) == 0 }

// text is the form of the limits in a label; "" for none.
func (l CgroupLimits) text() string {
	if l.Empty() {
		return ""
	}
	b, _ := json.Marshal(l) // numbers and strings cannot fail
	return string(b)
}

// InitialCgroupLimits are those that a container was created with, by its Docker
// labels. What is no such label's text means none.
func InitialCgroupLimits(labels map[string]string) (l CgroupLimits) {
	_ = json.Unmarshal([]byte(labels[labelCgroup]), &l)
	return l
}

// cgroupLimits leaves out the huge pages that the kernel cannot limit, and of
// which none are wanted: kubelets forbid each size that a pod does not ask for.
func cgroupLimits(f Facts, field string, r *cri.LinuxContainerResources) (CgroupLimits, []Notice) {
	l := CgroupLimits{Unified: r.GetUnified()}
	var notices []Notice
	for i, h := range r.GetHugepageLimits() {
		if !slices.Contains(f.HugePages, h.GetPageSize()) {
			notices = append(notices, Notice{fmt.Sprintf("%s.hugepage_limits[%d]", field, i),
				"the kernel has no limit for pages of " + h.GetPageSize() + ": none set"})
			continue
		}
		if l.HugePages == nil {
			l.HugePages = map[string]uint64{}
		}
		l.HugePages[h.GetPageSize()] = h.GetLimit()
	}
	return l, notices
}

func checkCgroupLimits(p *problems, f Facts, field string, r *cri.LinuxContainerResources) {
	for i, h := range r.GetHugepageLimits() {
		at := fmt.Sprintf("%s.hugepage_limits[%d]", field, i)
		if h.GetPageSize() == "" {
			p.add(at+".page_size", "is required")
		} else if h.GetLimit() > 0 && !slices.Contains(f.HugePages, h.GetPageSize()) {
			p.lack(at+".page_size", "%q cannot be limited: this node can limit huge pages of %q", h.GetPageSize(), f.HugePages)
		}
	}
	for _, key := range sortedKeys(r.GetUnified()) {
		checkUnified(p, f, field+".unified["+key+"]", key, r.GetUnified()[key])
	}
}

// checkUnified lets through the files of controllers that the node has on cgroup
// version 2. Those of cgroup itself move processes and freeze or kill them,
// which is the engine's.
func checkUnified(p *problems, f Facts, field, key, value string) {
	controller, file, ok := strings.Cut(key, ".")
	switch {
	case !ok || file == "" || strings.ContainsAny(key, "/\n\x00"):
		p.add(field, "is no name of a file of cgroup version 2, such as memory.high")
	case controller == "cgroup":
		p.add(field, "is no limit")
	case strings.ContainsRune(value, 0):
		p.add(field, "contains a NUL byte")
	case !slices.Contains(f.UnifiedControllers, controller):
		p.lack(field, "this node has no controller %q on cgroup version 2 (its controllers there: %q)", controller, f.UnifiedControllers)
	}
}
