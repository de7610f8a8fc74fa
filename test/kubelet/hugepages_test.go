// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pages are limits of huge pages of 2 MB, and none of those of 1 GB: the kubelet
// names every size that the node has.
func pages(bytes uint64) func(*cri.ContainerConfig) {
	return limited(func(r *cri.LinuxContainerResources) { r.HugepageLimits = limitsOf(bytes) })
}

func limitsOf(bytes uint64) []*cri.HugepageLimit {
	return []*cri.HugepageLimit{{PageSize: "2MB", Limit: bytes}, {PageSize: "1GB", Limit: 0}}
}

// wantPages waits for the limit in the status and in the kernel. A runtime may
// set it a moment after the start, when it forbids what nobody has asked for.
func (c *container) wantPages(bytes uint64) {
	c.Helper()
	eventually(c, fmt.Sprintf("the status says %d", bytes), func() bool {
		return slices.ContainsFunc(c.status().GetResources().GetLinux().GetHugepageLimits(), func(l *cri.HugepageLimit) bool {
			return l.GetPageSize() == "2MB" && l.GetLimit() == bytes
		})
	})
	if got := c.limit("hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"); got != strconv.FormatUint(bytes, 10) {
		c.Errorf("the kernel's limit is %s, want %d", got, bytes)
	}
}

// TestHugePages uses pages up to the limit and beyond.
func TestHugePages(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	if _, err := os.Stat("/sys/kernel/mm/hugepages/hugepages-2048kB"); err != nil || k.controllerOf("hugetlb").root == "" {
		p.wantRefused(pages(4*mebibyte), "hugepage", "hugetlb")
		return
	}
	p.wantRefused(limited(func(r *cri.LinuxContainerResources) {
		r.HugepageLimits = []*cri.HugepageLimit{{PageSize: "3MB", Limit: 3 * mebibyte}}
	}), "hugepage", "3MB")
	dir := k.folder()
	k.mount("hugetlbfs", dir, "pagesize=2M")
	// As an emptyDir volume of medium HugePages.
	volume := mounted(&cri.Mount{HostPath: dir, ContainerPath: "/pages"})
	c := p.container(idle, pages(4*mebibyte), volume)
	c.wantPages(4 * mebibyte)
	none := p.container(idle, pages(0), volume)
	none.wantPages(0)
	k.sub("are limited", func(k *kubelet) {
		k.allocatePages(6)
		c, none := c.in(k), none.in(k)
		for _, test := range []struct {
			c       *container
			pages   int
			succeed bool
		}{{c, 2, true}, {c, 3, false}, {none, 1, false}} {
			path := "/pages/" + unique("file")
			r, err := test.c.tryExec("/bin/sh", "-c", fmt.Sprintf("fallocate -l %dM %s; status=$?; rm -f %s; exit $status", 2*test.pages, path, path))
			k.must("ExecSync", err)
			if (r.GetExitCode() == 0) != test.succeed {
				k.Errorf("%d pages: it ended with %d, %q", test.pages, r.GetExitCode(), r.GetStderr())
			}
		}
	})
	k.must("UpdateContainerResources", c.update(&cri.LinuxContainerResources{HugepageLimits: limitsOf(2 * mebibyte)}))
	c.wantPages(2 * mebibyte)
}

// allocatePages makes the node have free huge pages until the test ends.
func (k *kubelet) allocatePages(more int) {
	k.Helper()
	const file = "/proc/sys/vm/nr_hugepages"
	text, err := os.ReadFile(file)
	k.must("count huge pages", err)
	before := strings.TrimSpace(string(text))
	number, err := strconv.Atoi(before)
	k.must("count huge pages", err)
	if err := os.WriteFile(file, []byte(strconv.Itoa(number+more)), 0); err != nil {
		k.Skipf("this node's huge pages are not ours to change: %v", err)
	}
	k.Cleanup(func() { k.must("give the pages back", os.WriteFile(file, []byte(before), 0)) })
	if text, err = os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(number+more) {
		k.Skipf("this node has no memory in one piece: %s huge pages of %d, %v", strings.TrimSpace(string(text)), number+more, err)
	}
}

// unifiedKeys are files of cgroup version 2 that a kubelet or a user may set,
// with two values each.
var unifiedKeys = []struct{ controller, key, one, other string }{
	{"memory", "memory.high", "67108864", "33554432"},
	{"memory", "memory.low", "1048576", "2097152"},
	{"cpu", "cpu.weight", "50", "70"},
	{"hugetlb", "hugetlb.2MB.max", "2097152", "4194304"},
}

// TestUnified sets files of cgroup version 2, where the controller is there, and
// looks that they are refused where it is not.
func TestUnified(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	for _, test := range unifiedKeys {
		k.sub(test.key, func(k *kubelet) {
			p := p.in(k)
			asked := limited(func(r *cri.LinuxContainerResources) { r.Unified = map[string]string{test.key: test.one} })
			if k.controllerOf(test.controller).version != 2 {
				p.wantRefused(asked, test.key, "unified")
				return
			}
			c := p.container(idle, asked)
			want := func(value string) {
				k.Helper()
				if got := c.limit(test.controller, "", test.key); got != value {
					k.Errorf("the kernel says %s, want %s", got, value)
				}
				if got := c.status().GetResources().GetLinux().GetUnified()[test.key]; got != value {
					k.Errorf("the status says %q, want %s", got, value)
				}
			}
			want(test.one)
			k.must("UpdateContainerResources", c.update(&cri.LinuxContainerResources{Unified: map[string]string{test.key: test.other}}))
			want(test.other)
			k.wantRefusal(c.update(&cri.LinuxContainerResources{Unified: map[string]string{test.key: "lots"}}), test.key, "unified")
			want(test.other)
		})
	}
	for _, key := range []string{"cgroup.freeze", "no-such-controller.max", "../memory.max", ""} {
		k.sub("not "+key, func(k *kubelet) {
			p.in(k).wantRefused(limited(func(r *cri.LinuxContainerResources) { r.Unified = map[string]string{key: "1"} }), "unified")
		})
	}
}
