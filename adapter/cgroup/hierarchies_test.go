// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 /docker/x /srv/part rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:35 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
42 31 0:38 /docker/x /srv/unified rw,relatime - cgroup2 cgroup2 rw
`

func parsed(t *testing.T, mounts string) *Hierarchies {
	t.Helper()
	all, err := mountinfo.GetMountsFromReader(strings.NewReader(mounts), mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		t.Fatal(err)
	}
	return &Hierarchies{mounts: byController(all)}
}

func TestDirsOfAGroup(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, test := range []struct {
		name, mounts, text string
		want               map[string]string
	}{
		{"hybrid", hybrid, "9:name=systemd:/a:b\n5:cpu,cpuacct:/rig/x\n4:memory:/\n3:pids:/rig/x\n0::/rig/x\n", map[string]string{
			"name=systemd": "/sys/fs/cgroup/systemd/a:b",
			"cpu":          "/sys/fs/cgroup/cpu,cpuacct/rig/x", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/rig/x",
			"memory": "/sys/fs/cgroup/memory", "": "/sys/fs/cgroup/unified/rig/x",
		}},
		{"systemd in a container", hybrid, "0::/system.slice/docker-" + id + ".scope/init.scope\n", map[string]string{
			"": "/sys/fs/cgroup/unified/system.slice/docker-" + id + ".scope",
		}},
		{"docker in docker", hybrid, "0::/docker/" + strings.Repeat("a", 64) + "/docker/" + id + "/init\n", map[string]string{
			"": "/sys/fs/cgroup/unified/docker/" + strings.Repeat("a", 64) + "/docker/" + id,
		}},
		{"outside of the namespace", hybrid, "0::/../rig/x\n", map[string]string{}},
		{"torn", hybrid, "0:\n\nx", map[string]string{}},
		{"no mounts", "", "0::/rig/x\n4:memory:/x\n", map[string]string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := parsed(t, test.mounts).dirs(test.text); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v\nwant %v", got, test.want)
			}
		})
	}
}

func TestDirBelowAMount(t *testing.T) {
	for _, test := range []struct{ root, path, want string }{
		{"/", "/", "/m"},
		{"/", "/rig/x", "/m/rig/x"},
		{"/", "/..", ""},
		{"/", "/../x", ""},
		{"/", "/..x", "/m/..x"},
		{"/rig", "/rig", "/m"},
		{"/rig", "/rig/x", "/m/x"},
		{"/rig", "/rigs/x", ""},
		{"/rig", "/x", ""},
		{"/..", "/../x", "/m/x"}, // the mount of the namespace around ours
		{"/..", "/../../x", ""},
		{"/..", "/x", ""}, // ours has a name there that /proc does not tell
	} {
		if got := (mount{root: test.root, point: "/m"}).dir(test.path); got != test.want {
			t.Errorf("%s in a mount of %s: got %q, want %q", test.path, test.root, got, test.want)
		}
	}
}

func FuzzDirs(f *testing.F) {
	f.Add("/", "/rig/x")
	f.Add("/..", "/../x")
	f.Fuzz(func(t *testing.T, root, path string) {
		dir := mount{root: root, point: "/m"}.dir(path)
		if dir != "" && dir != "/m" && !strings.HasPrefix(dir, "/m/") && !strings.Contains(path, "/../") && !strings.HasSuffix(path, "/..") {
			t.Errorf("%q in a mount of %q is %q, outside of it", path, root, dir)
		}
	})
}

func TestPageSizes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sizes, err := pageSizes(dir)
	slices.Sort(sizes)
	if want := []string{"1GB", "2MB", "64KB"}; err != nil || !slices.Equal(sizes, want) {
		t.Errorf("got %v, %v, want %v", sizes, err, want)
	}
	if sizes, err := pageSizes(filepath.Join(dir, "none")); sizes != nil || err != nil {
		t.Errorf("got %v, %v, want nothing", sizes, err)
	}
}

func TestControllers(t *testing.T) {
	none := parsed(t, "")
	if all, err := none.UnifiedControllers(); all != nil || err != nil || none.Hugetlb() {
		t.Errorf("without mounts: %v, %v", all, err)
	}
	if !parsed(t, "40 31 0:37 / /h rw - cgroup cgroup rw,hugetlb\n").Hugetlb() {
		t.Error("hugetlb of version 1 was not seen")
	}
	g := fake(t, nil)
	if all, err := g.hierarchies.UnifiedControllers(); err != nil || !slices.Equal(all, []string{"memory", "hugetlb"}) || !g.hierarchies.Hugetlb() {
		t.Errorf("got %v, %v", all, err)
	}
}
