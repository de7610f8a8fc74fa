// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// securely edits a container's security context.
func securely(edit func(*cri.LinuxContainerSecurityContext)) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) { edit(c.Linux.SecurityContext) }
}

// Bits of the capability sets (capabilities(7)).
const (
	capChown    = 1 << 0
	capNetAdmin = 1 << 12
	capSysAdmin = 1 << 21
	capMknod    = 1 << 27
)

// effective is the effective capability set of the container's process.
func (c *workload) effective() uint64 {
	c.Helper()
	set, err := strconv.ParseUint(field(c.proc("status"), "CapEff"), 16, 64)
	c.must("read the capability set", err)
	return set
}

// TestCapabilities reads the effective set.
func TestCapabilities(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	for name, test := range map[string]struct {
		add, drop []string
		has, not  uint64
	}{
		"Docker's defaults":   {nil, nil, capChown | capMknod, capNetAdmin | capSysAdmin},
		"one more":            {[]string{"NET_ADMIN"}, nil, capChown | capNetAdmin, capSysAdmin},
		"one less":            {nil, []string{"MKNOD"}, capChown, capMknod},
		"none":                {nil, []string{"ALL"}, 0, ^uint64(0)},
		"only one":            {[]string{"CHOWN"}, []string{"ALL"}, capChown, ^uint64(capChown)},
		"by its kernel names": {[]string{"CAP_NET_ADMIN"}, []string{"CAP_MKNOD"}, capNetAdmin, capMknod},
	} {
		n.sub(name, func(n *node) {
			c := p.in(n).container(idle, securely(func(s *cri.LinuxContainerSecurityContext) {
				s.Capabilities = &cri.Capability{AddCapabilities: test.add, DropCapabilities: test.drop}
			}))
			if set := c.effective(); set&test.has != test.has || set&test.not != 0 {
				n.Errorf("set %x, want %x in it and none of %x", set, test.has, test.not)
			}
		})
	}
}

// needPrivileged skips where the engine cannot run privileged containers, such
// as one that lacks a capability itself.
func (n *node) needPrivileged() {
	n.Helper()
	created, err := n.engine.ContainerCreate(n.Context(), &container.Config{Image: busybox, Cmd: []string{"true"}},
		&container.HostConfig{NetworkMode: "none", Privileged: true}, nil, nil, "")
	n.must("create a container", err)
	defer n.engine.remove(n, created.ID)
	if err := n.engine.ContainerStart(n.Context(), created.ID, container.StartOptions{}); err != nil {
		n.Skipf("this engine runs no privileged containers here: %v", err)
	}
}

// TestAllCapabilities asks for them by their collective name.
func TestAllCapabilities(t *testing.T) {
	n := newNode(t)
	n.needPrivileged()
	c := n.pod().container(idle, securely(func(s *cri.LinuxContainerSecurityContext) {
		s.Capabilities = &cri.Capability{AddCapabilities: []string{"ALL"}, DropCapabilities: []string{"MKNOD"}}
	}))
	if set := c.effective(); set&(capChown|capNetAdmin|capSysAdmin) == 0 || set&capMknod != 0 {
		n.Errorf("set %x", set)
	}
}

// TestPrivileged: all capabilities, the node's devices, nothing masked.
func TestPrivileged(t *testing.T) {
	n := newNode(t)
	n.needPrivileged()
	p := n.pod(func(c *cri.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	c := p.container(idle, securely(func(s *cri.LinuxContainerSecurityContext) { s.Privileged = true }))
	if set := c.effective(); set&capSysAdmin == 0 {
		n.Errorf("capabilities %x", set)
	}
	status := c.proc("status")
	if field(status, "Seccomp") != "0" {
		n.Errorf("seccomp mode %s", field(status, "Seccomp"))
	}
	if mounts := c.proc("mountinfo"); strings.Contains(mounts, " /sys/firmware ") || strings.Contains(mounts, " /proc/sys ") {
		n.Errorf("/proc is masked:\n%s", mounts)
	}
	if _, err := os.Stat(c.procPath("root/dev/kmsg")); err != nil {
		n.Errorf("the node's devices are not there: %v", err)
	}
}

// noMkdir is a seccomp profile that forbids to make directories.
const noMkdir = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}`

// TestSeccomp reads the mode of the process, and tries what is forbidden.
func TestSeccomp(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	file := filepath.Join(n.TempDir(), "profile.json")
	n.must("write a profile", os.WriteFile(file, []byte(noMkdir), 0o600))
	const none, filtered = "0", "2"
	for name, test := range map[string]struct {
		profile *cri.SecurityProfile
		mode    string
		mkdir   bool
	}{
		"none asked for":      {nil, none, true},
		"unconfined":          {&cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}, none, true},
		"the runtime default": {&cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}, filtered, true},
		"a file":              {&cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: file}, filtered, false},
	} {
		n.sub(name, func(n *node) {
			c := p.in(n).container("mkdir /tmp/made && echo made || echo refused; "+idle,
				securely(func(s *cri.LinuxContainerSecurityContext) { s.Seccomp = test.profile }))
			if mode := field(c.proc("status"), "Seccomp"); mode != test.mode {
				n.Errorf("mode %s, want %s", mode, test.mode)
			}
			if test.mkdir {
				c.awaitLog("made\n")
			} else {
				c.awaitLog("refused\n")
			}
		})
	}
	n.sub("a file, as kubelets before 1.19 name it", func(n *node) {
		c := p.in(n).container("mkdir /tmp/made && echo made || echo refused; "+idle, securely(func(s *cri.LinuxContainerSecurityContext) {
			//lint:ignore SA1019 it is what is tested
			s.SeccompProfilePath = "localhost/" + file
		}))
		c.awaitLog("refused\n")
	})
}

// TestSandboxSeccomp: the profile of the sandbox is the pause process's.
func TestSandboxSeccomp(t *testing.T) {
	n := newNode(t)
	p := n.pod(func(c *cri.PodSandboxConfig) {
		c.Linux.SecurityContext.Seccomp = &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}
	})
	pause := &workload{pod: p, id: p.id, pid: n.engine.inspect(n, p.id).State.Pid}
	status := pause.proc("status")
	if field(status, "Seccomp") != "2" || field(status, "NoNewPrivs") != "1" {
		n.Errorf("seccomp mode %s, no new privileges %s", field(status, "Seccomp"), field(status, "NoNewPrivs"))
	}
}

// TestConfinement: the smaller locks.
func TestConfinement(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	n.sub("no new privileges", func(n *node) {
		p := p.in(n)
		for _, want := range []bool{true, false} {
			c := p.container(idle, securely(func(s *cri.LinuxContainerSecurityContext) { s.NoNewPrivs = want }))
			if got := field(c.proc("status"), "NoNewPrivs"); got != map[bool]string{true: "1", false: "0"}[want] {
				n.Errorf("asked for %t, is %s", want, got)
			}
		}
	})
	n.sub("read-only root", func(n *node) {
		got := p.in(n).output("touch /note", securely(func(s *cri.LinuxContainerSecurityContext) { s.ReadonlyRootfs = true }))
		if !strings.Contains(got, "Read-only file system") {
			n.Errorf("touch says %q", got)
		}
	})
	n.sub("masked and read-only paths", func(n *node) {
		c := p.in(n).container(idle, securely(func(s *cri.LinuxContainerSecurityContext) {
			s.MaskedPaths, s.ReadonlyPaths = []string{"/www/index.html"}, []string{"/tmp"}
		}))
		if got := c.file("/www/index.html"); got != "" {
			n.Errorf("a masked file says %q", got)
		}
		mounts := c.proc("mountinfo")
		if !strings.Contains(mounts, " /tmp ro") || strings.Contains(mounts, " /sys/firmware ") {
			n.Errorf("want /tmp read-only and none of Docker's own paths masked:\n%s", mounts)
		}
	})
	n.sub("Docker's own paths without a security context", func(n *node) {
		c := p.in(n).container(idle, func(c *cri.ContainerConfig) { c.Linux = nil })
		if mounts := c.proc("mountinfo"); !strings.Contains(mounts, " /sys/firmware ") {
			n.Errorf("/sys/firmware is not masked:\n%s", mounts)
		}
	})
}
