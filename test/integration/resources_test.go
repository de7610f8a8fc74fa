// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// inCgroup puts a pod below the rig's cgroup, which the rig clears up.
func inCgroup(c *cri.PodSandboxConfig) {
	rig, pod := os.Getenv("RIG_CGROUP"), c.GetMetadata().GetName()
	if slice, found := strings.CutSuffix(filepath.Base(rig), ".slice"); found { // systemd's names lead to the root
		pod = slice + "-" + pod + ".slice"
	}
	c.Linux.CgroupParent = filepath.Join(rig, pod)
}

// cgroup reads a file of a container's cgroup (version 1) below the pod's.
func (p *pod) cgroup(controller, id, file string) string {
	p.Helper()
	text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, p.config.GetLinux().GetCgroupParent(), id, file))
	p.must("read the cgroup", err)
	return strings.TrimSpace(string(text))
}

func needCgroupV1(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err != nil {
		t.Skip("reads the files of cgroup version 1, which this machine does not use")
	}
}

const mebibyte = 1 << 20

// TestLimits reads limits where the kernel has them, before and after an update.
func TestLimits(t *testing.T) {
	needCgroupV1(t)
	n := newNode(t)
	p := n.pod(inCgroup)
	c := p.container(idle, func(c *cri.ContainerConfig) {
		c.Linux.Resources = &cri.LinuxContainerResources{
			MemoryLimitInBytes: 64 * mebibyte, CpuShares: 512, CpuPeriod: 100000, CpuQuota: 50000, CpusetCpus: "0",
		}
	})
	n.wantCgroup(p, c.id, map[string]string{
		"memory/memory.limit_in_bytes": strconv.Itoa(64 * mebibyte),
		"cpu/cpu.shares":               "512",
		"cpu/cpu.cfs_period_us":        "100000",
		"cpu/cpu.cfs_quota_us":         "50000",
		"cpuset/cpuset.cpus":           "0",
	})
	_, err := n.runtime.UpdateContainerResources(n.Context(), &cri.UpdateContainerResourcesRequest{
		ContainerId: c.id, Linux: &cri.LinuxContainerResources{MemoryLimitInBytes: 96 * mebibyte, CpuQuota: 70000},
	})
	n.must("UpdateContainerResources", err)
	n.wantCgroup(p, c.id, map[string]string{
		"memory/memory.limit_in_bytes": strconv.Itoa(96 * mebibyte),
		"cpu/cpu.shares":               "512",
		"cpu/cpu.cfs_quota_us":         "70000",
	})
	got := c.status().GetResources().GetLinux()
	if got.GetMemoryLimitInBytes() != 96*mebibyte || got.GetCpuQuota() != 70000 || got.GetCpuShares() != 512 || got.GetCpusetCpus() != "0" {
		n.Errorf("status says %v", got)
	}
	n.wantCgroup(p, p.id, map[string]string{"cpu/cpu.shares": "2"})
	// The pod's own cgroup is the kubelet's, which takes an error for a refusal.
	_, err = n.runtime.UpdatePodSandboxResources(n.Context(), &cri.UpdatePodSandboxResourcesRequest{PodSandboxId: p.id})
	n.must("UpdatePodSandboxResources", err)
}

func (n *node) wantCgroup(p *pod, id string, want map[string]string) {
	n.Helper()
	for path, value := range want {
		controller, file := filepath.Split(path)
		if got := p.cgroup(controller, id, file); got != value {
			n.Errorf("%s is %s, want %s", path, got, value)
		}
	}
}

// TestOutOfMemory: the reason says that the kernel killed it.
func TestOutOfMemory(t *testing.T) {
	n := newNode(t)
	c := n.pod().container("tail /dev/zero", func(c *cri.ContainerConfig) {
		// As the only process, so that its end is the container's.
		c.Command, c.Args = []string{"tail", "/dev/zero"}, nil
		c.Linux.Resources.MemoryLimitInBytes = 16 * mebibyte
	})
	c.awaitExit()
	// The engine may tell of it a moment after the end.
	eventually(n, "the reason is OOMKilled", func() bool { return c.status().GetReason() == "OOMKilled" })
	if code := c.status().GetExitCode(); code != 137 {
		n.Errorf("exit code %d", code)
	}
}

// TestOutOfMemoryAtOnce: the engine does not see each that ends within
// milliseconds, and the kernel's log does.
func TestOutOfMemoryAtOnce(t *testing.T) {
	log, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("the kernel's log cannot be read here: %v", err)
	}
	log.Close()
	n := newNode(t)
	p := n.pod()
	var all []*workload
	for range 20 {
		all = append(all, p.container("", func(c *cri.ContainerConfig) {
			c.Command, c.Args = []string{"tail", "/dev/zero"}, nil
			c.Linux.Resources.MemoryLimitInBytes = 16 * mebibyte
		}))
	}
	for _, c := range all {
		c.awaitExit()
		eventually(n, "the reason is OOMKilled", func() bool { return c.status().GetReason() == "OOMKilled" })
	}
	// Whom somebody else kills is not out of memory.
	c := p.container(idle)
	n.must("kill it", syscall.Kill(c.pid, syscall.SIGKILL))
	if s := c.awaitExit(); s.GetReason() != "Error" || s.GetExitCode() != 137 {
		n.Errorf("killed by a signal: %v", s)
	}
}

// TestOOMScore: a score that the engine may not set is clamped, and does not
// fail the pod.
func TestOOMScore(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	floor := n.oomScoreFloor()
	for _, asked := range []int{-998, -1, 0, 300} {
		c := p.container(idle, func(c *cri.ContainerConfig) { c.Linux.Resources.OomScoreAdj = int64(asked) })
		if got := strings.TrimSpace(c.proc("oom_score_adj")); got != strconv.Itoa(max(asked, floor)) {
			n.Errorf("asked for %d: score is %s, and the engine's least is %d", asked, got, floor)
		}
	}
}

// TestOOMScoreClamped: the flag makes it so on any machine.
func TestOOMScoreClamped(t *testing.T) {
	n := newNode(t, "--oom-score-adj=clamp")
	c := n.pod().container(idle, func(c *cri.ContainerConfig) { c.Linux.Resources.OomScoreAdj = -500 })
	if got := strings.TrimSpace(c.proc("oom_score_adj")); got != "0" {
		n.Errorf("score is %s", got)
	}
}

// oomScoreFloor is how low the engine may set scores: as it likes with
// CAP_SYS_RESOURCE, else no lower than its own.
func (n *node) oomScoreFloor() int {
	n.Helper()
	dockerd := &workload{pod: &pod{node: n}, pid: n.engine.pid(n)}
	const capSysResource = 1 << 24
	if dockerd.effective()&capSysResource != 0 {
		return -1000
	}
	score, err := strconv.Atoi(strings.TrimSpace(dockerd.proc("oom_score_adj")))
	n.must("read the engine's score", err)
	return score
}
