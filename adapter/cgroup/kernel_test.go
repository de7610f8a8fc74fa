// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The tests of this file make groups of their own in the kernel's hierarchies.

// realGroup is the group of a process, named as a container's is, below a group
// of the test's in the hierarchy of version 2 and in those controllers that have
// their own.
func realGroup(t *testing.T, controllers ...string) *Group {
	t.Helper()
	h := needHugetlb(t)
	name := filepath.Join(fmt.Sprintf("dockershimd-test-%d", os.Getpid()), strings.Repeat("0123456789abcdef", 4))
	procs := []string{makeGroup(t, h, "", name)}
	for _, c := range controllers {
		procs = append(procs, makeGroup(t, h, c, name))
	}
	g, err := h.Of(startIn(t, procs))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(controllers, "") {
		if want := filepath.Join(h.mounts[c].point, name); g.dirs[c] != want {
			t.Fatalf("the directory of controller %q is %s, want %s", c, g.dirs[c], want)
		}
	}
	return g
}

// needHugetlb skips where there is no version 2 with hugetlb to be had, and lets
// nothing be enabled at the end that was not.
func needHugetlb(t *testing.T) *Hierarchies {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make cgroups")
	}
	h, err := Mounted()
	if err != nil {
		t.Fatal(err)
	}
	unified, err := h.UnifiedControllers()
	if err != nil || !slices.Contains(unified, "hugetlb") || !slices.Contains(h.HugePageSizes(), "2MB") {
		t.Skipf("needs a cgroup2 hierarchy with hugetlb, and pages of 2MB: %v, %v, %v", unified, h.HugePageSizes(), err)
	}
	root := h.mounts[""].point
	before, err := words(filepath.Join(root, "cgroup.subtree_control"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(before, "hugetlb") {
		t.Cleanup(func() { disableUnused(t, root) })
	}
	return h
}

// disableUnused leaves hugetlb enabled if anybody has set a limit by now. The
// kernel itself refuses while it is enabled further down.
func disableUnused(t *testing.T, root string) {
	limits, err := filepath.Glob(filepath.Join(root, "*", "hugetlb.*.max"))
	if err != nil {
		t.Error(err)
	}
	for _, path := range limits {
		if _, limited := (&reader{}).limit(path); limited {
			t.Logf("hugetlb stays enabled for %s", path)
			return
		}
	}
	if err := write(filepath.Join(root, "cgroup.subtree_control"), "-hugetlb"); err != nil {
		t.Logf("hugetlb stays enabled: %v", err)
	}
}

// makeGroup makes a group and that above it, and is the file to move processes with.
func makeGroup(t *testing.T, h *Hierarchies, controller, name string) (procs string) {
	t.Helper()
	mount, mounted := h.mounts[controller]
	if !mounted {
		t.Skipf("needs a hierarchy with the controller %s", controller)
	}
	for _, name := range []string{filepath.Dir(name), name} {
		dir := filepath.Join(mount.point, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		if controller == "cpuset" { // empty at first, and no process can enter then
			put(t, filepath.Join(dir, "cpuset.cpus"), "0")
			put(t, filepath.Join(dir, "cpuset.mems"), "0")
		}
	}
	return filepath.Join(mount.point, name, "cgroup.procs")
}

// startIn starts a process that has run for a while in the groups, so that it
// uses some memory of theirs.
func startIn(t *testing.T, procs []string) (pid int) {
	t.Helper()
	child := exec.Command("sh", append([]string{"-c", `for procs; do echo $$ >"$procs" || exit; done; exec cat`, "sh"}, procs...)...)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	if _, err := in.Write([]byte{'x'}); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read([]byte{0}); err != nil {
		t.Fatalf("the process did not get into its groups: %v", err)
	}
	return child.Process.Pid
}

func TestKernelLimits(t *testing.T) {
	g := realGroup(t, "cpu", "cpuset", "memory")
	for file, value := range map[string]string{"cpu.shares": "512", "cpu.cfs_quota_us": "50000", "memory.limit_in_bytes": "67108864"} {
		put(t, g.v1(file), value)
	}
	put(t, proc(g.pid, "oom_score_adj"), "321")
	want := &cri.LinuxContainerResources{
		CpuShares: 512, CpuQuota: 50000, CpuPeriod: 100000, CpusetCpus: "0", CpusetMems: "0", MemoryLimitInBytes: 64 << 20, OomScoreAdj: 321,
	}
	wantLimits(t, g, want)
	l := Limits{HugePages: map[string]uint64{"2MB": 4 << 20}}
	for range 2 {
		if err := g.Apply(context.Background(), l, "cgroupfs"); err != nil {
			t.Fatal(err)
		}
	}
	wantFiles(t, g.dirs[""], map[string]string{"hugetlb.2MB.max": "4194304", "hugetlb.2MB.rsvd.max": "4194304"})
	want.HugepageLimits = []*cri.HugepageLimit{{PageSize: "2MB", Limit: 4 << 20}}
	wantLimits(t, g, want)
	if used, err := g.MemoryInUse(); err != nil || used == 0 || used > 64<<20 {
		t.Errorf("memory in use: %d, %v", used, err)
	}
}

func wantLimits(t *testing.T, g *Group, want *cri.LinuxContainerResources) {
	t.Helper()
	if got, err := g.Limits(); err != nil || !proto.Equal(got, want) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
}

func TestKernelRefusesAndAllIsRestored(t *testing.T) {
	g := realGroup(t)
	if err := g.Apply(context.Background(), Limits{HugePages: map[string]uint64{"2MB": 2 << 20}}, "cgroupfs"); err != nil {
		t.Fatal(err)
	}
	l := Limits{HugePages: map[string]uint64{"2MB": 8 << 20}, Unified: map[string]string{"hugetlb.1GB.max": "1073741824", "hugetlb.2MB.max": "nonsense"}}
	err := g.Apply(context.Background(), l, "cgroupfs")
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "unified hugetlb.2MB.max=nonsense: write "+g.v2("hugetlb.2MB.max")) || strings.Contains(err.Error(), "restoring") {
		t.Errorf("got %v", err)
	}
	wantFiles(t, g.dirs[""], map[string]string{"hugetlb.2MB.rsvd.max": "2097152", "hugetlb.2MB.max": "2097152"})
	if got, err := g.Limits(); err != nil || len(got.GetHugepageLimits()) != 1 { // not of 1GB
		t.Errorf("limits are %v, %v", got, err)
	}
}

// A group that has processes cannot have controllers for groups below it.
func TestKernelCannotEnable(t *testing.T) {
	g := realGroup(t)
	above := filepath.Dir(g.dirs[""])
	startIn(t, []string{filepath.Join(above, "cgroup.procs")})
	err := g.Apply(context.Background(), Limits{HugePages: map[string]uint64{"2MB": 0}}, "cgroupfs")
	if !errdefs.IsFailedPrecondition(err) || errdefs.IsNotFound(err) || !strings.Contains(err.Error(), above+"/cgroup.subtree_control") {
		t.Errorf("got %v", err)
	}
	if err := g.Apply(context.Background(), Limits{Unified: map[string]string{"nothing.max": "1"}}, "cgroupfs"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a controller that is not there: %v", err)
	}
}

// A first process may move itself further down.
func TestKernelGroupOfASystemdInAContainer(t *testing.T) {
	g := realGroup(t)
	below := filepath.Join(g.dirs[""], "init.scope")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := write(g.v2("cgroup.procs"), fmt.Sprint(g.pid)); err != nil {
			t.Error(err)
		}
		if err := os.Remove(below); err != nil {
			t.Error(err)
		}
	})
	put(t, filepath.Join(below, "cgroup.procs"), fmt.Sprint(g.pid))
	if moved, err := g.hierarchies.Of(g.pid); err != nil || moved.dirs[""] != g.dirs[""] {
		t.Errorf("got %v, %v, want %s", moved, err, g.dirs[""])
	}
}

func BenchmarkLimits(b *testing.B) {
	h, err := Mounted()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		g, err := h.Of(os.Getpid())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := g.Limits(); err != nil {
			b.Fatal(err)
		}
	}
}
