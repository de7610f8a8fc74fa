// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"
)

// keepBalance compares what there is when the test ends, after its pods are
// removed, with what there is now.
func (n *node) keepBalance() {
	n.Helper()
	before := n.inventory()
	n.Cleanup(func() { n.wantInventory(before) })
}

// wantInventory reports what is there and should not be, and the reverse.
func (n *node) wantInventory(want []string) {
	n.Helper()
	got := n.inventory()
	for _, line := range got {
		if !slices.Contains(want, line) {
			n.Errorf("left behind: %s", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			n.Errorf("gone: %s", line)
		}
	}
}

// inventory lists all that pods leave traces in, a line each.
func (n *node) inventory() []string {
	n.Helper()
	return slices.Concat(n.engineObjects(), n.leases(), n.pins(), n.mountPoints(), n.veths(), n.natRules(), n.cacheFiles(), n.logPositions(), n.logLinks(), n.nodeWork())
}

func (n *node) engineObjects() (lines []string) {
	n.Helper()
	containers, err := n.engine.ContainerList(context.Background(), container.ListOptions{All: true})
	n.must("list the engine's containers", err)
	for _, c := range containers {
		lines = append(lines, "container "+c.ID+" "+strings.Join(c.Names, " "))
	}
	volumes, err := n.engine.VolumeList(context.Background(), volume.ListOptions{})
	n.must("list the engine's volumes", err)
	for _, v := range volumes.Volumes {
		lines = append(lines, "volume "+v.Name)
	}
	return lines
}

// leases are the addresses that host-local has given out.
func (n *node) leases() (lines []string) {
	files, err := filepath.Glob("/var/lib/cni/networks/*/*")
	n.must("list leases", err)
	for _, file := range files {
		if net.ParseIP(filepath.Base(file)) != nil {
			lines = append(lines, "lease "+file)
		}
	}
	return lines
}

func (n *node) pins() (lines []string) {
	files, err := filepath.Glob(filepath.Join(n.netns, "*"))
	n.must("list pins", err)
	for _, file := range files {
		lines = append(lines, "pin "+file)
	}
	return lines
}

// mountPoints leaves out those that stay for good: the folders of pins and of
// staged mounts, and the engine's handle on the node's network, made for the
// first container there.
func (n *node) mountPoints() (lines []string) {
	stay := []string{n.netns, n.stagedMounts(), filepath.Join(os.Getenv("RIG_DIR"), "exec/netns/default")}
	text, err := os.ReadFile("/proc/self/mounts")
	n.must("list mounts", err)
	for line := range strings.Lines(string(text)) {
		if target := strings.Fields(line)[1]; !slices.Contains(stay, target) {
			lines = append(lines, "mount "+target)
		}
	}
	return lines
}

func (n *node) veths() (lines []string) {
	links, err := net.Interfaces()
	n.must("list links", err)
	for _, link := range links {
		if strings.HasPrefix(link.Name, "veth") {
			lines = append(lines, "link "+link.Name)
		}
	}
	return lines
}

// podRule matches the firewall rules that plugins add for one pod; the chains
// that all pods share stay.
var podRule = regexp.MustCompile(`CNI-[0-9a-f]{24}|CNI-(DN|SN)-`)

func (n *node) natRules() (lines []string) {
	out, err := exec.Command("iptables-save", "-t", "nat").CombinedOutput()
	if err != nil {
		n.Fatalf("iptables-save: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		// The chains' counters change.
		if line, _, _ = strings.Cut(line, "["); podRule.MatchString(line) {
			lines = append(lines, "rule "+strings.TrimSpace(line))
		}
	}
	return lines
}

func (n *node) cacheFiles() []string { return n.filesBelow("cache", n.cache) }

func (n *node) logPositions() []string {
	return n.filesBelow("position in a log", filepath.Join(n.dir, "state", "logs"))
}

// nodeWork is what is kept for containers on the node.
func (n *node) nodeWork() []string {
	return append(n.filesBelow("limits", filepath.Join(n.dir, "state", "cgroups")), n.filesBelow("staged", n.stagedMounts())...)
}

func (n *node) stagedMounts() string { return filepath.Join(n.dir, "state", "mounts") }

// logLinks leaves out logs that are files of their own: the kubelet removes those.
func (n *node) logLinks() []string {
	return slices.DeleteFunc(n.filesBelow("log", n.logs), func(line string) bool {
		info, err := os.Lstat(strings.TrimPrefix(line, "log "))
		return err != nil || info.Mode().IsRegular()
	})
}

func (n *node) filesBelow(noun, dir string) (lines []string) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			lines = append(lines, noun+" "+path)
		}
		return nil // the folder comes with the first pod, and files go while we look
	})
	return lines
}
