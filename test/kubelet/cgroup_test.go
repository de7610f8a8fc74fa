// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hierarchy is where the node has a controller of control groups.
type hierarchy struct {
	root    string
	version int
}

// controllerOf finds the hierarchy that a controller is on. The root is empty
// where no hierarchy has it.
func (k *kubelet) controllerOf(name string) (h hierarchy) {
	k.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	k.must("list mounts", err)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		_, after, _ := strings.Cut(line, " - ")
		kind := strings.Fields(after) // type, source, options
		switch {
		case kind[0] == "cgroup" && slices.Contains(strings.Split(kind[2], ","), name):
			return hierarchy{fields[4], 1}
		case kind[0] == "cgroup2":
			controllers, err := os.ReadFile(filepath.Join(fields[4], "cgroup.controllers"))
			k.must("list controllers", err)
			if slices.Contains(strings.Fields(string(controllers)), name) {
				h = hierarchy{fields[4], 2}
			}
		}
	}
	return h
}

// cgroup is the folder of the container's cgroup, with a controller.
func (c *container) cgroup(controller string) (dir string, version int) {
	c.Helper()
	h := c.controllerOf(controller)
	if h.root == "" {
		c.Fatalf("no hierarchy has the controller %s", controller)
	}
	for line := range strings.Lines(c.proc("cgroup")) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if h.version == 1 && slices.Contains(strings.Split(part[1], ","), controller) || h.version == 2 && part[0] == "0" {
			return filepath.Join(h.root, part[2]), h.version
		}
	}
	c.Fatalf("the container is in no cgroup of %s", controller)
	return "", 0
}

// limit reads a file of the container's cgroup, whose name differs with the
// version.
func (c *container) limit(controller, ofVersion1, ofVersion2 string) string {
	c.Helper()
	dir, version := c.cgroup(controller)
	name := ofVersion1
	if version == 2 {
		name = ofVersion2
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	c.must("read the cgroup", err)
	return strings.TrimSpace(string(text))
}
