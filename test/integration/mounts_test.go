// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// mounted asks for one bind mount at /mnt.
func mounted(m *cri.Mount) func(*cri.ContainerConfig) {
	m.ContainerPath = "/mnt"
	return func(c *cri.ContainerConfig) { c.Mounts = append(c.Mounts, m) }
}

// mountInfo is the line of /proc/PID/mountinfo for /mnt: its options, and the
// optional fields, which tell the propagation (mount_namespaces(7)).
func (c *workload) mountInfo() (options, propagation string) {
	c.Helper()
	for line := range strings.Lines(c.proc("mountinfo")) {
		fields := strings.Fields(line)
		if fields[4] == "/mnt" {
			optional, _, _ := strings.Cut(strings.Join(fields[6:], " "), "- ")
			return fields[5], optional
		}
	}
	c.Fatal("nothing is mounted at /mnt")
	return "", ""
}

// TestBindMounts looks at mounts from inside and from the node.
func TestBindMounts(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	n.sub("writable", func(n *node) {
		dir := n.TempDir()
		p.in(n).output("echo from inside >/mnt/note", mounted(&cri.Mount{HostPath: dir}))
		if text, err := os.ReadFile(filepath.Join(dir, "note")); err != nil || string(text) != "from inside\n" {
			n.Errorf("the node sees %q, %v", text, err)
		}
	})
	n.sub("read-only", func(n *node) {
		dir := n.TempDir()
		c := p.in(n).container("touch /mnt/note && echo written; "+idle, mounted(&cri.Mount{HostPath: dir, Readonly: true}))
		c.awaitLog("Read-only file system")
		if options, _ := c.mountInfo(); !strings.HasPrefix(options, "ro") {
			n.Errorf("mount options are %s", options)
		}
		if m := c.status().GetMounts(); len(m) != 1 || !m[0].GetReadonly() || m[0].GetHostPath() != dir || m[0].GetContainerPath() != "/mnt" {
			n.Errorf("status says %v", m)
		}
	})
	n.sub("a missing host path is made", func(n *node) {
		dir := filepath.Join(n.TempDir(), "not", "yet")
		p.in(n).container(idle, mounted(&cri.Mount{HostPath: dir}))
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			n.Errorf("%v, %v", info, err)
		}
	})
	n.sub("a file", func(n *node) {
		file := filepath.Join(n.TempDir(), "file")
		n.must("write a file", os.WriteFile(file, []byte("of the node"), 0o600))
		if got := p.in(n).output("cat /mnt", mounted(&cri.Mount{HostPath: file})); got != "of the node" {
			n.Errorf("inside it says %q", got)
		}
	})
}

// mayMount lets a container mount things.
func mayMount(c *cri.ContainerConfig) {
	c.Linux.SecurityContext.Capabilities = &cri.Capability{AddCapabilities: []string{"SYS_ADMIN"}}
	c.Linux.SecurityContext.Apparmor = &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}
}

// TestMountPropagation mounts things after the container has started. The rig's
// root is shared, as systemd leaves it on a real node.
func TestMountPropagation(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	for _, test := range []struct {
		mode     cri.MountPropagation
		optional string // what a private mount lacks
		intoIt   bool   // what the node mounts appears inside
		outOfIt  bool   // and the reverse
	}{
		{cri.MountPropagation_PROPAGATION_PRIVATE, "", false, false},
		{cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, "master:", true, false},
		{cri.MountPropagation_PROPAGATION_BIDIRECTIONAL, "shared:", true, true},
	} {
		n.sub(test.mode.String(), func(n *node) {
			dir := n.TempDir()
			for _, sub := range []string{"node", "inside"} {
				n.must("make a folder", os.Mkdir(filepath.Join(dir, sub), 0o755))
			}
			c := p.in(n).container("mount -t tmpfs inside /mnt/inside; echo mounted; "+idle,
				mounted(&cri.Mount{HostPath: dir, Propagation: test.mode}),
				mayMount)
			c.awaitLog("mounted")
			n.Cleanup(func() { _ = syscall.Unmount(filepath.Join(dir, "inside"), syscall.MNT_DETACH) })
			if _, optional := c.mountInfo(); !strings.HasPrefix(optional, test.optional) || test.optional == "" && optional != "" {
				n.Errorf("propagation of the mount is %q, want %q", optional, test.optional)
			}
			if got := c.status().GetMounts()[0].GetPropagation(); got != test.mode {
				n.Errorf("status says %s", got)
			}
			n.must("mount on the node", syscall.Mount("node", filepath.Join(dir, "node"), "tmpfs", 0, ""))
			n.Cleanup(func() { _ = syscall.Unmount(filepath.Join(dir, "node"), syscall.MNT_DETACH) })
			if got := strings.Contains(c.proc("mountinfo"), " /mnt/node "); got != test.intoIt {
				n.Errorf("the node's mount is seen inside: %t", got)
			}
			if got := strings.Contains(strings.Join(n.mountPoints(), "\n"), filepath.Join(dir, "inside")); got != test.outOfIt {
				n.Errorf("the container's mount is seen on the node: %t", got)
			}
		})
	}
}

// TestReadOnlySubmounts: recursive_read_only where the engine can, and a clear
// word where not.
func TestReadOnlySubmounts(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	dir := n.TempDir()
	n.must("make a folder", os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	n.must("mount", syscall.Mount("sub", filepath.Join(dir, "sub"), "tmpfs", 0, ""))
	t.Cleanup(func() { _ = syscall.Unmount(filepath.Join(dir, "sub"), syscall.MNT_DETACH) })

	plain := p.output("touch /mnt/sub/note && echo written; touch /mnt/note", mounted(&cri.Mount{HostPath: dir, Readonly: true}))
	if !strings.Contains(plain, "written\n") || !strings.Contains(plain, "Read-only file system") {
		n.Errorf("a read-only mount lets its submount be written to, says CRI; got %q", plain)
	}
	recursive := p.containerConfig("touch /mnt/sub/note && echo written", mounted(&cri.Mount{HostPath: dir, Readonly: true, RecursiveReadOnly: true}))
	if !n.handlerFeatures().GetRecursiveReadOnlyMounts() {
		if _, err := p.tryCreate(recursive); err == nil || !strings.Contains(err.Error(), "mounts[0].recursive_read_only") {
			n.Errorf("an engine that cannot says %v", err)
		}
		return
	}
	c := p.create(recursive)
	c.start()
	c.awaitExit()
	if got := c.log(); !strings.Contains(got, "Read-only file system") {
		n.Errorf("the submount can be written to: %q", got)
	}
	if !c.status().GetMounts()[0].GetRecursiveReadOnly() {
		n.Errorf("status says %v", c.status().GetMounts())
	}
}

// handlerFeatures are those of the default runtime handler.
func (n *node) handlerFeatures() *cri.RuntimeHandlerFeatures {
	n.Helper()
	r, err := n.runtime.Status(n.Context(), &cri.StatusRequest{})
	n.must("Status", err)
	for _, h := range r.GetRuntimeHandlers() {
		if h.GetName() == "" {
			return h.GetFeatures()
		}
	}
	return nil
}
