// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/moby/sys/mountinfo"
)

// Hierarchies are the hierarchies of control groups that are mounted here, and
// the sizes of huge pages that there are. None of it changes while a node is
// up, so one reading is enough. It is made by Mounted.
type Hierarchies struct {
	// Dial connects to systemd; nil is by its own socket, /run/systemd/private.
	Dial Dialer

	mounts    map[string]mount // by controller of version 1; "" is version 2
	pageSizes []string
}

// Dialer connects to systemd. The connection may end with the context.
type Dialer func(context.Context) (*systemd.Conn, error)

// mount shows the groups at and below root at point.
type mount struct{ root, point string }

// Mounted reads which hierarchies are mounted.
func Mounted() (*Hierarchies, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, fmt.Errorf("list mounts of cgroup hierarchies: %w", err)
	}
	sizes, err := pageSizes("/sys/kernel/mm/hugepages")
	if err != nil {
		return nil, fmt.Errorf("list sizes of huge pages: %w", err)
	}
	return &Hierarchies{mounts: byController(mounts), pageSizes: sizes}, nil
}

// byController takes each option of a hierarchy of version 1 for a controller:
// those that are none, such as "rw", are never asked for. A named hierarchy is
// "name=NAME" there and in /proc/PID/cgroup.
func byController(mounts []*mountinfo.Info) map[string]mount {
	all := map[string]mount{}
	for _, m := range mounts {
		controllers := []string{""}
		if m.FSType == "cgroup" {
			controllers = strings.Split(m.VFSOptions, ",")
		}
		for _, c := range controllers {
			// Parts of a hierarchy can be mounted in other places: prefer the whole.
			if old, found := all[c]; !found || len(m.Root) < len(old.root) {
				all[c] = mount{root: m.Root, point: m.Mountpoint}
			}
		}
	}
	return all
}

// dir is where the group at path is to be seen, or "" if it is not below the
// mount. Both paths begin at the root of our cgroup namespace: what is outside
// of that begins with "/..", and the names between are not to be known.
func (m mount) dir(path string) string {
	below, found := strings.CutPrefix(path, strings.TrimSuffix(m.root, "/"))
	if !found || below != "" && below[0] != '/' || below == "/.." || strings.HasPrefix(below, "/../") {
		return ""
	}
	return filepath.Join(m.point, below)
}

// HugePageSizes are the sizes of huge pages, as in file names of the kernel:
// "2MB", "1GB". It is nil where there are none.
func (h *Hierarchies) HugePageSizes() []string { return slices.Clone(h.pageSizes) }

// Hugetlb tells whether use of huge pages can be limited: some hierarchy has the
// controller.
func (h *Hierarchies) Hugetlb() bool {
	if _, found := h.mounts["hugetlb"]; found {
		return true
	}
	unified, err := h.UnifiedControllers()
	return err == nil && slices.Contains(unified, "hugetlb")
}

// UnifiedControllers are the controllers that the hierarchy of version 2 has; nil
// where none is mounted.
func (h *Hierarchies) UnifiedControllers() ([]string, error) {
	unified, found := h.mounts[""]
	if !found {
		return nil, nil
	}
	return words(filepath.Join(unified.point, "cgroup.controllers"))
}

// words reads a file of words, such as a list of controllers.
func words(path string) ([]string, error) {
	text, err := read(path)
	return strings.Fields(text), err
}

// pageSizes reads directories named such as hugepages-2048kB.
func pageSizes(dir string) (sizes []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		var kilobytes uint64
		if _, err := fmt.Sscanf(e.Name(), "hugepages-%dkB", &kilobytes); err == nil {
			sizes = append(sizes, spell(kilobytes))
		}
	}
	return sizes, err
}

// spell writes a page size as the kernel's hugetlb controller does.
func spell(kilobytes uint64) string {
	switch {
	case kilobytes >= 1<<20:
		return fmt.Sprintf("%dGB", kilobytes>>20)
	case kilobytes >= 1<<10:
		return fmt.Sprintf("%dMB", kilobytes>>10)
	}
	return fmt.Sprintf("%dKB", kilobytes)
}
