// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestMountOptions looks at the options that a mount has in the container.
func TestMountOptions(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	for name, test := range map[string]struct {
		mount *cri.Mount
		want  []string
	}{
		"noexec":    {&cri.Mount{MountOptions: []string{"noexec"}}, []string{"rw", "noexec"}},
		"all":       {&cri.Mount{MountOptions: []string{"noexec", "nosuid", "nodev"}}, []string{"rw", "nosuid", "nodev", "noexec"}},
		"read-only": {&cri.Mount{MountOptions: []string{"nosuid"}, Readonly: true}, []string{"ro", "nosuid"}},
		"host to container": {&cri.Mount{MountOptions: []string{"noexec"}, Propagation: cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER},
			[]string{"rw", "noexec"}},
		"bidirectional": {&cri.Mount{MountOptions: []string{"noexec"}, Propagation: cri.MountPropagation_PROPAGATION_BIDIRECTIONAL},
			[]string{"rw", "noexec"}},
	} {
		n.sub(name, func(n *node) {
			dir := n.TempDir()
			program := filepath.Join(dir, "program")
			n.must("write a program", os.WriteFile(program, []byte("#!/bin/sh\necho executed\n"), 0o755))
			n.must("make it executable for all", os.Chmod(program, 0o755))
			mount := test.mount
			mount.HostPath = dir
			c := p.in(n).container("/mnt/program; echo done; "+idle, mounted(mount))
			options, _ := c.mountInfo()
			for _, want := range test.want {
				if !strings.Contains(","+options+",", ","+want+",") {
					n.Errorf("options are %s, want %v", options, test.want)
				}
			}
			c.awaitLog("done\n")
			noexec := strings.Contains(strings.Join(test.want, ","), "noexec")
			if executed := strings.Contains(c.log(), "executed\n"); executed == noexec {
				n.Errorf("it was executed: %t, and says %q", executed, c.log())
			}
			if got := c.status().GetMounts(); len(got) != 1 || got[0].String() != mount.String() {
				n.Errorf("status says %v, want %v", got, mount)
			}
			// What is there is the container's as long as it runs.
			n.restart(syscall.SIGKILL)
			c = c.in(n)
			if now, _ := c.mountInfo(); now != options || !c.running() {
				n.Errorf("after a restart of the daemon: %s", now)
			}
			c.remove()
		})
	}
}

// TestMountOptionsReachThrough: propagation and submounts with options.
func TestMountOptionsReachThrough(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	dir := n.TempDir()
	for _, sub := range []string{"before", "later"} {
		n.must("make a folder", os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	mount := func(sub string) {
		n.must("mount", syscall.Mount(sub, filepath.Join(dir, sub), "tmpfs", 0, ""))
		t.Cleanup(func() { _ = syscall.Unmount(filepath.Join(dir, sub), syscall.MNT_DETACH) })
	}
	mount("before")
	c := p.container(idle, mounted(&cri.Mount{
		HostPath: dir, MountOptions: []string{"noexec"}, Propagation: cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER,
	}))
	c.awaitExec()
	mount("later")
	info := c.proc("mountinfo")
	if !strings.Contains(info, " /mnt/before rw,noexec") || !strings.Contains(info, " /mnt/later rw") {
		n.Errorf("mounts inside:\n%s", info)
	}
	file := filepath.Join(dir, "file")
	n.must("write a file", os.WriteFile(file, []byte("of the node"), 0o644))
	if got := p.output("cat /mnt", mounted(&cri.Mount{HostPath: file, MountOptions: []string{"nodev"}})); got != "of the node" {
		n.Errorf("a file says %q", got)
	}
}

// volumeImage is an image that serves as a volume.
const volumeImage = "localhost/integration-volume:1"

func (e engine) needVolumeImage(t testing.TB) {
	t.Helper()
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := errors.Join(
		writeFile(w, "top", []byte("at the top")),
		writeFile(w, "models/small/weights", []byte("light")),
		writeFile(w, "models/large/weights", []byte("heavy")),
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "out", Linkname: "/etc"}),
		w.Close(),
	); err != nil {
		t.Fatal(err)
	}
	e.makeImage(t, volumeImage, files.Bytes())
	t.Cleanup(func() { e.removeImage(t, volumeImage) })
}

func imageAt(path, sub string) *cri.Mount {
	return &cri.Mount{ContainerPath: path, Image: &cri.ImageSpec{Image: volumeImage}, ImageSubPath: sub}
}

func withMounts(mounts ...*cri.Mount) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) { c.Mounts = mounts }
}

// TestImageVolumes: on engines that mount images, and on those that do not.
func TestImageVolumes(t *testing.T) {
	n := newNode(t)
	n.engine.needVolumeImage(t)
	p := n.pod()
	script := "cat /all/top /small/weights /large/weights; echo; touch /all/new; echo done; " + idle
	c := p.container(script, withMounts(imageAt("/all", ""), imageAt("/small", "models/small"), imageAt("/large", "models/large")))
	c.awaitLog("done\n")
	if got := c.log(); !strings.Contains(got, "at the toplightheavy\n") || !strings.Contains(got, "Read-only file system") {
		n.Errorf("inside: %q", got)
	}
	image, err := n.engine.ImageInspect(n.Context(), volumeImage)
	n.must("inspect the image", err)
	for i, m := range c.status().GetMounts() {
		if m.GetImage().GetImage() != volumeImage || !m.GetReadonly() || !strings.Contains(m.GetImage().GetImageRef(), image.ID) {
			n.Errorf("mount %d: %v", i, m)
		}
	}
	_, err = n.images.RemoveImage(n.Context(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: volumeImage}})
	n.wantRefusal(err, codes.FailedPrecondition, c.id)
	n.restart(syscall.SIGKILL)
	c = c.in(n)
	if got := c.file("/small/weights"); got != "light" || !c.running() {
		n.Errorf("after a restart of the daemon: %q", got)
	}
	c.remove()
	_, err = n.images.RemoveImage(n.Context(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: volumeImage}})
	n.must("RemoveImage", err)
}

// TestImageVolumeOfFile mounts one file of an image.
func TestImageVolumeOfFile(t *testing.T) {
	n := newNode(t)
	n.engine.needVolumeImage(t)
	if got := n.pod().output("cat /weights", withMounts(imageAt("/weights", "models/small/weights"))); got != "light" {
		n.Errorf("inside: %q", got)
	}
}

// TestImageVolumesRefused: nothing is left behind.
func TestImageVolumesRefused(t *testing.T) {
	n := newNode(t)
	n.engine.needVolumeImage(t)
	p := n.pod()
	absent := imageAt("/mnt", "")
	absent.Image.Image = "localhost/unheard-of:1"
	for name, test := range map[string]struct {
		mount *cri.Mount
		code  codes.Code
		says  string
	}{
		"image":    {absent, codes.NotFound, "ImageVolumeMountFailed: config.mounts[0].image: "},
		"upwards":  {imageAt("/mnt", "../etc"), codes.InvalidArgument, "config.mounts[0].image_sub_path"},
		"absolute": {imageAt("/mnt", "/models"), codes.InvalidArgument, "config.mounts[0].image_sub_path"},
	} {
		n.sub(name, func(n *node) {
			n.keepBalance()
			_, err := p.in(n).tryCreate(p.containerConfig(idle, withMounts(test.mount)))
			n.wantRefusal(err, test.code, test.says)
		})
	}
	for name, sub := range map[string]string{"missing path": "no/such/path", "a link that leads out": "out/passwd"} {
		n.sub(name, func(n *node) {
			n.keepBalance()
			id, err := p.in(n).tryCreate(p.containerConfig(idle, withMounts(imageAt("/mnt", sub))))
			if err == nil { // the engine looks when it mounts
				c := &workload{pod: p.in(n), id: id}
				_, err = n.runtime.StartContainer(n.Context(), &cri.StartContainerRequest{ContainerId: id})
				c.remove()
			}
			if err == nil || !strings.Contains(err.Error(), "no such file or directory") && !strings.Contains(err.Error(), "escapes the base directory") {
				n.Errorf("it says %v", err)
			}
		})
	}
}

// TestSomebodyRemovesStaged: docker rm behind our back frees the mounts too.
func TestSomebodyRemovesStaged(t *testing.T) {
	n := newNode(t)
	c := n.pod().container(idle, mounted(&cri.Mount{HostPath: n.TempDir(), MountOptions: []string{"noexec"}}))
	if len(n.nodeMounts()) == 0 {
		n.Fatal("nothing is staged")
	}
	n.engine.remove(n, c.id)
	eventually(n, "what was staged is unmounted", func() bool { return len(n.nodeMounts()) == 0 })
}

// TestStagedLeftovers: the daemon is killed, the container removed meanwhile.
func TestStagedLeftovers(t *testing.T) {
	n := newNode(t)
	c := n.pod().container(idle, mounted(&cri.Mount{HostPath: n.TempDir(), MountOptions: []string{"noexec"}}))
	n.end(n.T, syscall.SIGKILL)
	n.engine.remove(n, c.id)
	n.daemon.start(n.T)
	n.awaitReady()
	eventually(n, "what was staged is unmounted", func() bool { return len(n.nodeMounts()) == 0 })
}

// nodeMounts are the mounts that are staged now.
func (n *node) nodeMounts() (staged []string) {
	n.Helper()
	for _, line := range n.mountPoints() {
		if strings.Contains(line, n.stagedMounts()+"/") {
			staged = append(staged, line)
		}
	}
	return staged
}

// TestPropagationFromPrivateMount is refused before anything is created.
func TestPropagationFromPrivateMount(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	dir := n.TempDir()
	n.must("mount", syscall.Mount("private", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	n.must("make it private", syscall.Mount("", dir, "", syscall.MS_PRIVATE, ""))
	for _, mode := range []cri.MountPropagation{cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, cri.MountPropagation_PROPAGATION_BIDIRECTIONAL} {
		n.keepBalance()
		_, err := p.tryCreate(p.containerConfig(idle, mounted(&cri.Mount{HostPath: filepath.Join(dir, "new"), Propagation: mode})))
		n.wantRefusal(err, codes.InvalidArgument, "config.mounts[0].propagation: "+mode.String())
	}
}

// cdiSpec is a vendor's specification of two devices.
const cdiSpec = `{
	"cdiVersion": "0.6.0", "kind": "vendor.com/device",
	"containerEdits": {"env": ["OF_ALL=yes"]},
	"devices": [
		{"name": "zero", "containerEdits": {
			"env": ["DEVICE=zero=0"],
			"deviceNodes": [{"path": "/dev/vendor0", "hostPath": "/dev/zero", "permissions": "rw"}],
			"mounts": [{"hostPath": "%MOUNT%", "containerPath": "/vendor", "options": ["ro", "nosuid", "bind"]}]
		}},
		{"name": "hooked", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/bin/true"}]}}
	]
}`

// TestCDI: the engine finds devices by name where it can, else the daemon does.
func TestCDI(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	dir := n.TempDir()
	n.must("write a file", os.WriteFile(filepath.Join(dir, "library"), []byte("of the vendor"), 0o644))
	n.must("make a folder", os.MkdirAll("/var/run/cdi", 0o755))
	const spec = "/var/run/cdi/vendor.json"
	n.must("write a specification", os.WriteFile(spec, []byte(strings.ReplaceAll(cdiSpec, "%MOUNT%", dir)), 0o644))
	t.Cleanup(func() { _ = os.Remove(spec) })
	with := func(names ...string) func(*cri.ContainerConfig) {
		return func(c *cri.ContainerConfig) {
			for _, name := range names {
				c.CDIDevices = append(c.CDIDevices, &cri.CDIDevice{Name: name})
			}
		}
	}
	n.sub("device, variable, mount", func(n *node) {
		got := p.in(n).output(`echo $OF_ALL $DEVICE; head -c 3 /dev/vendor0 | tr '\0' z; cat /vendor/library; touch /vendor/new`, with("vendor.com/device=zero"))
		if !strings.Contains(got, "yes zero=0\n") || !strings.Contains(got, "zzzof the vendor") || !strings.Contains(got, "Read-only file system") {
			n.Errorf("inside: %q", got)
		}
	})
	n.sub("hooks", func(n *node) {
		n.keepBalance()
		config := p.containerConfig("true", with("vendor.com/device=hooked"))
		id, err := p.in(n).tryCreate(config)
		if info, infoErr := n.engine.Info(n.Context()); infoErr == nil && len(info.CDISpecDirs) > 0 {
			n.must("CreateContainer", err)
			c := &workload{pod: p.in(n), id: id}
			c.start()
			c.awaitExit()
			c.remove()
			return
		}
		n.wantRefusal(err, codes.FailedPrecondition, "config.CDI_devices: vendor.com/device=hooked needs hooks")
	})
	for _, name := range []string{"vendor.com/device=absent", "nonsense", ""} {
		n.sub("unknown: "+name, func(n *node) {
			n.keepBalance()
			_, err := p.in(n).tryCreate(p.containerConfig(idle, with("vendor.com/device=zero", name)))
			n.wantRefusal(err, codes.InvalidArgument, "config.CDI_devices[1].name: ")
		})
	}
}
