// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// unusedDevice is a node of no driver. What may be opened says that there is no
// device, and what may not is refused before that.
func (k *kubelet) unusedDevice() (path string) {
	k.Helper()
	path = filepath.Join(k.TempDir(), "device")
	k.must("make a device", unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 250))))
	k.must("open it for all", os.Chmod(path, 0o666))
	return path
}

// TestDevices gives a container a device of the node under another name.
func TestDevices(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	node := k.unusedDevice()
	for permissions, may := range map[string]struct{ read, write bool }{"r": {true, false}, "w": {false, true}, "rw": {true, true}, "rwm": {true, true}} {
		k.sub(permissions, func(k *kubelet) {
			c := p.in(k).container(idle, func(c *cri.ContainerConfig) {
				c.Devices = []*cri.Device{{HostPath: node, ContainerPath: "/dev/other", Permissions: permissions}}
			})
			for script, want := range map[string]bool{": </dev/other": may.read, ": >/dev/other": may.write} {
				r, err := c.tryExec("/bin/sh", "-c", script)
				k.must("ExecSync", err)
				if got := strings.Contains(string(r.GetStderr()), "o such device"); got != want {
					k.Errorf("%s says %q", script, r.GetStderr())
				}
			}
		})
	}
	for name, d := range map[string]*cri.Device{
		"absent": {HostPath: "/dev/unheard-of", ContainerPath: "/dev/other", Permissions: "rw"},
		"a file": {HostPath: "/etc/passwd", ContainerPath: "/dev/other", Permissions: "rw"},
	} {
		k.sub(name, func(k *kubelet) {
			p.in(k).wantRefused(func(c *cri.ContainerConfig) { c.Devices = []*cri.Device{d} }, d.GetHostPath())
		})
	}
}

// cdiSpec is a vendor's specification of two devices, with a mount.
const cdiSpec = `{
	"cdiVersion": "0.6.0", "kind": "suite.example/device",
	"containerEdits": {"env": ["OF_ALL=yes"]},
	"devices": [
		{"name": "zero", "containerEdits": {
			"env": ["DEVICE=zero=0"],
			"deviceNodes": [{"path": "/dev/vendor0", "hostPath": "/dev/zero", "permissions": "rw"}],
			"mounts": [{"hostPath": "%MOUNT%", "containerPath": "/vendor", "options": ["ro", "nosuid", "bind"]}]
		}},
		{"name": "null", "containerEdits": {
			"deviceNodes": [{"path": "/dev/vendor1", "hostPath": "/dev/null", "permissions": "rw"}]
		}}
	]
}`

// specify installs the specification until the test ends.
func (k *kubelet) specify(vendor string) {
	k.Helper()
	dir := os.Getenv("CDI_SPEC_DIR")
	if dir == "" {
		dir = "/var/run/cdi"
	}
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		k.must("make a folder", os.MkdirAll(dir, 0o755))
		k.Cleanup(func() { _ = os.Remove(dir) }) // somebody may have put another one there meanwhile
	}
	spec := filepath.Join(dir, "kubelet-suite.json")
	k.must("write a specification", os.WriteFile(spec, []byte(strings.ReplaceAll(cdiSpec, "%MOUNT%", vendor)), 0o644))
	k.Cleanup(func() { k.must("remove the specification", os.Remove(spec)) })
}

func cdi(names ...string) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) {
		for _, name := range names {
			c.CDIDevices = append(c.CDIDevices, &cri.CDIDevice{Name: name})
		}
	}
}

// TestCDI finds devices by their names, as device plugins give them.
func TestCDI(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	vendor := k.folder()
	k.must("write a file", os.WriteFile(filepath.Join(vendor, "library"), []byte("of the vendor"), 0o644))
	k.specify(vendor)
	k.sub("devices, variables, mounts", func(k *kubelet) {
		c := p.in(k).container(idle, cdi("suite.example/device=zero", "suite.example/device=null"))
		environment := strings.Split(c.proc("environ"), "\x00")
		for _, want := range []string{"OF_ALL=yes", "DEVICE=zero=0"} {
			if !slices.Contains(environment, want) {
				k.Errorf("no %s among the variables %q", want, environment)
			}
		}
		if got := c.exec("head", "-c", "3", "/dev/vendor0"); got != "\x00\x00\x00" {
			k.Errorf("the device says %q", got)
		}
		if got := c.sh("echo lost >/dev/vendor1; cat /dev/vendor1 /vendor/library"); got != "of the vendor" {
			k.Errorf("the other device and the mount say %q", got)
		}
		if options, _ := c.mountedAt("/vendor"); !strings.HasPrefix(options, "ro") {
			k.Errorf("the mount has %q", options)
		}
	})
	// As kubectl exec and probes need it, which find a vendor's libraries by them.
	k.sub("variables of commands", func(k *kubelet) {
		c := p.in(k).container(idle, cdi("suite.example/device=zero"))
		if got := c.sh("echo $OF_ALL $DEVICE"); got != "yes zero=0\n" {
			k.Errorf("the variables are %q", got)
		}
	})
	for _, name := range []string{"suite.example/device=absent", "suite.example/other=zero", "nonsense"} {
		k.sub("unknown: "+name, func(k *kubelet) { p.in(k).wantRefused(cdi("suite.example/device=zero", name), name, "CDI_devices") })
	}
}
