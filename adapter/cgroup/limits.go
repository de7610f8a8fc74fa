// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
)

// Limits are those that the Engine API has no fields for. What is not in a map
// is left as it is.
type Limits struct {
	// HugePages are bytes by page size, as the kernel spells it in file names:
	// "2MB", "1GB".
	HugePages map[string]uint64 `json:"hugePages,omitempty"`
	// Unified are values by file of cgroup version 2, such as "memory.high": "1000000".
	Unified map[string]string `json:"unified,omitempty"`
}

// Empty tells whether there is nothing to apply.
func (l Limits) Empty() bool { return len(l.HugePages) == 0 && len(l.Unified) == 0 }

// Over is a copy of old in which what l says has taken the place of what old says.
func (l Limits) Over(old Limits) Limits {
	return Limits{HugePages: over(l.HugePages, old.HugePages), Unified: over(l.Unified, old.Unified)}
}

func over[V any](m, old map[string]V) map[string]V {
	if old == nil {
		return maps.Clone(m)
	}
	merged := maps.Clone(old)
	maps.Copy(merged, m)
	return merged
}

var pageSize = regexp.MustCompile(`^[1-9][0-9]*[KMG]B$`)

// check refuses names that would lead to other files than those of limits, and
// values that the kernel would take for something else.
func (l Limits) check() error {
	for size := range l.HugePages {
		if !pageSize.MatchString(size) {
			return fmt.Errorf("%s: not a page size such as 2MB: %w", hugePagesKey(size), errdefs.ErrInvalidArgument)
		}
	}
	for file, value := range l.Unified {
		if !plain(file) {
			return fmt.Errorf("%s: not a file of a controller, such as memory.high: %w", unifiedKey(file), errdefs.ErrInvalidArgument)
		}
		// The kernel reads nothing as the number 0; but a cpuset may be empty.
		if strings.TrimSpace(value) == "" && !strings.HasPrefix(file, "cpuset.") {
			return fmt.Errorf("%s: no value: %w", unifiedKey(file), errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// plain tells whether a name is CONTROLLER.SOMETHING. The files of cgroup itself
// do not limit but move, freeze and kill processes.
func plain(file string) bool {
	controller, _, found := strings.Cut(file, ".")
	return found && controller != "" && controller != "cgroup" && !strings.ContainsAny(file, "/\x00")
}

// The keys are what limits are called in errors, as in a CRI request.
func hugePagesKey(size string) string { return "hugepage_limits " + size }

func unifiedKey(file string) string { return "unified " + file }
