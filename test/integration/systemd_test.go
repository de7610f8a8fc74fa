// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// systemdNode is a node where systemd manages the one hierarchy of version 2.
func systemdNode(t *testing.T) *node {
	t.Helper()
	needRig(t)
	info, err := dialEngine(t).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.CgroupDriver != "systemd" || info.CgroupVersion != "2" {
		t.Skipf("the engine's cgroup driver is %s, on version %s: test/vm/run.sh has systemd on version 2", info.CgroupDriver, info.CgroupVersion)
	}
	return newNode(t)
}

// reload has systemd write again what it knows of limits.
func (n *node) reload() {
	n.Helper()
	if out, err := exec.Command("systemctl", "daemon-reload").CombinedOutput(); err != nil {
		n.Fatalf("systemctl daemon-reload: %v\n%s", err, out)
	}
}

// group is where the files of a container's cgroup of version 2 are.
func (c *workload) group() string {
	c.Helper()
	path, found := strings.CutPrefix(strings.TrimSpace(c.proc("cgroup")), "0::")
	if !found {
		c.Fatalf("no cgroup of version 2 alone: %s", c.proc("cgroup"))
	}
	return filepath.Join("/sys/fs/cgroup", path)
}

func (c *workload) wantFiles(when string, want map[string]string) {
	c.Helper()
	for file, value := range want {
		if got := c.firstWord(filepath.Join(c.group(), file)); got != value {
			c.Errorf("%s: %s is %q, want %q", when, file, got, value)
		}
	}
}

// pause is the pod's own container.
func (p *pod) pause() *workload {
	p.Helper()
	return &workload{pod: p, id: p.id, pid: p.engine.inspect(p, p.id).State.Pid}
}

// TestSystemdSlice: a pod and its containers are in the slice that the kubelet
// has made for it.
func TestSystemdSlice(t *testing.T) {
	n := systemdNode(t)
	const slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b_2c3d.slice"
	t.Cleanup(func() { _ = exec.Command("systemctl", "stop", "kubepods.slice").Run() })
	p := n.pod(func(c *cri.PodSandboxConfig) { c.Linux.CgroupParent = slice })
	c := p.container("cat /proc/self/cgroup; " + idle)
	for _, c := range []*workload{p.pause(), c} {
		if got, want := c.proc("cgroup"), "0::"+slice+"/docker-"+c.id+".scope\n"; got != want {
			n.Errorf("cgroup is %q, want %q", got, want)
		}
	}
	c.awaitLog("0::/\n") // its own cgroup namespace
	if got := strings.TrimSpace(p.pause().proc("oom_score_adj")); got != "-998" {
		n.Errorf("the pause process has the score %s", got)
	}
	p.pause().wantFiles("pause", map[string]string{"cpu.weight": "1"})
	config := n.podConfig(func(c *cri.PodSandboxConfig) { c.Linux.CgroupParent = "/kubepods/burstable/pod0a1b_2c3d" })
	_, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: config})
	n.wantRefusal(err, codes.InvalidArgument, "config.linux.cgroup_parent")
}

// TestSystemdUnified: files of version 2 and limits of huge pages outlast what
// systemd, the engine and a new daemon do.
func TestSystemdUnified(t *testing.T) {
	n := systemdNode(t)
	unified := map[string]string{
		"memory.high": "50331648", "memory.low": "8388608", "memory.swap.max": "16777216", "memory.oom.group": "1",
		"cpu.weight": "42", "pids.max": "77",
	}
	others := map[string]string{
		"memory.max": "67108864", "hugetlb.2MB.max": "4194304", "hugetlb.2MB.rsvd.max": "4194304",
	}
	c := n.pod(inCgroup).container(idle, func(c *cri.ContainerConfig) {
		c.Linux.Resources = &cri.LinuxContainerResources{
			MemoryLimitInBytes: 64 * mebibyte, CpuShares: 512, Unified: maps.Clone(unified), HugepageLimits: pages("2MB", 4*mebibyte),
		}
	})
	want := func(when string) {
		n.Helper()
		c := c.in(n)
		c.wantFiles(when, unified)
		c.wantFiles(when, others)
		if got := c.status().GetResources().GetLinux().GetUnified(); !maps.Equal(got, unified) {
			n.Errorf("%s: status says %v, want %v", when, got, unified)
		}
	}
	want("created")
	n.reload()
	want("created and reloaded")

	change := map[string]string{"memory.high": "41943040", "memory.low": "0", "memory.swap.max": "8388608", "cpu.weight": "300", "pids.max": "max"}
	maps.Copy(unified, change)
	others["memory.max"], others["hugetlb.2MB.max"], others["hugetlb.2MB.rsvd.max"] = "100663296", "2097152", "2097152"
	n.update(c, &cri.LinuxContainerResources{
		MemoryLimitInBytes: 96 * mebibyte, CpuShares: 512, Unified: change, HugepageLimits: pages("2MB", 2*mebibyte),
	})
	want("updated")
	n.reload()
	want("updated and reloaded")

	n.update(c, &cri.LinuxContainerResources{MemoryLimitInBytes: 80 * mebibyte, CpuShares: 256})
	others["memory.max"] = "83886080"
	want("updated by what the engine has words for")
	n.restart(syscall.SIGKILL)
	want("updated, with a new daemon")

	for says, request := range map[string]*cri.LinuxContainerResources{
		"cpu.weight=20000": {MemoryLimitInBytes: 64 * mebibyte, Unified: map[string]string{"cpu.weight": "20000", "memory.low": "4096"}},
		"memory.high=lots": {MemoryLimitInBytes: 64 * mebibyte, Unified: map[string]string{"cpu.weight": "7", "memory.high": "lots"}},
		"4000":             {MemoryLimitInBytes: 64 * mebibyte, CpusetCpus: "4000", Unified: map[string]string{"memory.low": "4096"}},
	} {
		_, err := n.tryUpdate(c.in(n), request)
		n.wantRefusal(err, codes.InvalidArgument, says)
		want("refused " + says)
	}
	n.reload()
	want("refused and reloaded")
}

// TestSystemdLimits is TestLimits and TestUpdates with systemd, which rounds a
// quota to whole percents whenever the engine changes another limit.
func TestSystemdLimits(t *testing.T) {
	n := systemdNode(t)
	c := n.pod(inCgroup).container(idle, func(c *cri.ContainerConfig) {
		c.Linux.Resources = &cri.LinuxContainerResources{
			MemoryLimitInBytes: 64 * mebibyte, CpuShares: 512, CpuPeriod: 100000, CpuQuota: 12000, CpusetCpus: "0", CpusetMems: "0",
		}
	})
	files := map[string]string{
		"memory.max": "67108864", "memory.swap.max": "0", "cpu.max": "12000 100000", "cpu.weight": "20", "cpuset.cpus": "0", "cpuset.mems": "0",
	}
	told := &cri.LinuxContainerResources{
		MemoryLimitInBytes: 64 * mebibyte, MemorySwapLimitInBytes: 64 * mebibyte, CpuShares: 512, CpuPeriod: 100000, CpuQuota: 12000,
		CpusetCpus: "0", CpusetMems: "0",
	}
	want := func(when string) {
		n.Helper()
		c := c.in(n)
		c.wantFiles(when, files)
		if got := c.status().GetResources().GetLinux(); got.String() != told.String() {
			n.Errorf("%s: status says %v, want %v", when, got, told)
		}
	}
	want("created")
	for _, step := range []struct {
		about string
		asked *cri.LinuxContainerResources
		files map[string]string
		told  func(*cri.LinuxContainerResources)
	}{
		{"memory up", &cri.LinuxContainerResources{MemoryLimitInBytes: 128 * mebibyte}, map[string]string{"memory.max": "134217728", "memory.swap.max": "0"},
			func(r *cri.LinuxContainerResources) {
				r.MemoryLimitInBytes, r.MemorySwapLimitInBytes = 128*mebibyte, 128*mebibyte
			}},
		{"memory down", &cri.LinuxContainerResources{MemoryLimitInBytes: 32 * mebibyte}, map[string]string{"memory.max": "33554432", "memory.swap.max": "0"},
			func(r *cri.LinuxContainerResources) {
				r.MemoryLimitInBytes, r.MemorySwapLimitInBytes = 32*mebibyte, 32*mebibyte
			}},
		{"swap", &cri.LinuxContainerResources{MemoryLimitInBytes: 32 * mebibyte, MemorySwapLimitInBytes: 48 * mebibyte},
			map[string]string{"memory.max": "33554432", "memory.swap.max": "16777216"},
			func(r *cri.LinuxContainerResources) { r.MemorySwapLimitInBytes = 48 * mebibyte }},
		{"shares", &cri.LinuxContainerResources{CpuShares: 2}, map[string]string{"cpu.weight": "1"},
			func(r *cri.LinuxContainerResources) { r.CpuShares = 2 }},
		{"processors", &cri.LinuxContainerResources{CpusetCpus: "0-1"}, map[string]string{"cpuset.cpus": "0-1"},
			func(r *cri.LinuxContainerResources) { r.CpusetCpus = "0-1" }},
		{"no CPU quota", &cri.LinuxContainerResources{CpuQuota: -1}, map[string]string{"cpu.max": "max 100000"},
			func(r *cri.LinuxContainerResources) { r.CpuQuota = -1 }},
		{"a CPU quota", &cri.LinuxContainerResources{CpuQuota: 70000, CpuPeriod: 50000}, map[string]string{"cpu.max": "70000 50000"},
			func(r *cri.LinuxContainerResources) { r.CpuQuota, r.CpuPeriod = 70000, 50000 }},
	} {
		n.update(c.in(n), step.asked)
		maps.Copy(files, step.files)
		step.told(told)
		want(step.about)
	}
	n.reload()
	want("all that, and reloaded")
}

// TestSystemdScope: the scope of a container ends with it, and one of the same
// pod comes and goes.
func TestSystemdScope(t *testing.T) {
	n := systemdNode(t)
	p := n.pod(inCgroup)
	c := p.container(idle, func(c *cri.ContainerConfig) {
		c.Linux.Resources.Unified = map[string]string{"memory.high": "50331648"}
	})
	group := c.group()
	c.stop(10)
	eventually(n, "its cgroup is removed", func() bool {
		_, err := os.Stat(group)
		return os.IsNotExist(err)
	})
	if got := c.status().GetExitCode(); got != 0 {
		n.Errorf("exit code %d", got)
	}
	c.remove()
	p.container(idle).wantFiles("another container of the pod", map[string]string{"memory.high": "max"})
}
