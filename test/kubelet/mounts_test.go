// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// mounted asks for mounts.
func mounted(mounts ...*cri.Mount) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) { c.Mounts = append(c.Mounts, mounts...) }
}

// mayMount lets a container mount things.
func mayMount(c *cri.ContainerConfig) {
	c.Linux.SecurityContext.Capabilities = &cri.Capability{AddCapabilities: []string{"SYS_ADMIN"}}
	c.Linux.SecurityContext.Apparmor = &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}
}

// mount mounts a new file system on the node until the test ends.
func (k *kubelet) mount(kind, dir, options string) {
	k.Helper()
	k.must("mount "+kind, unix.Mount(kind, dir, kind, 0, options))
	k.Cleanup(func() { k.must("unmount", unix.Unmount(dir, unix.MNT_DETACH)) })
}

// folder makes a folder with others in it.
func (k *kubelet) folder(subs ...string) (dir string) {
	k.Helper()
	dir = k.TempDir()
	for _, sub := range subs {
		k.must("make a folder", os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	return dir
}

// mountedAt is the line of mountinfo for a path in the container: the options
// of the mount, and the optional fields, which tell how it propagates.
func (c *container) mountedAt(path string) (options, propagation string) {
	c.Helper()
	for line := range strings.Lines(c.exec("cat", "/proc/self/mountinfo")) {
		fields := strings.Fields(line)
		if fields[4] == path {
			options, optional := fields[5], fields[6:slices.Index(fields, "-")]
			return options, strings.Join(optional, " ")
		}
	}
	return "", "nothing is mounted there"
}

// TestPropagation mounts things on both sides, and compares what the status says.
func TestPropagation(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
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
		k.sub(test.mode.String(), func(k *kubelet) {
			dir := k.folder()
			k.mount("tmpfs", dir, "")
			// As systemd leaves the root of a node, which a test cannot rely on.
			k.must("share it", unix.Mount("", dir, "", unix.MS_SHARED, ""))
			for _, sub := range []string{"node", "inside"} {
				k.must("make a folder", os.Mkdir(filepath.Join(dir, sub), 0o755))
			}
			asked := &cri.Mount{HostPath: dir, ContainerPath: "/mnt", Propagation: test.mode}
			c := p.in(k).container(idle, mounted(asked), mayMount)
			if _, optional := c.mountedAt("/mnt"); !strings.HasPrefix(optional, test.optional) || test.optional == "" && optional != "" {
				k.Errorf("the mount has %q, want %q", optional, test.optional)
			}
			c.wantMounts(asked)
			c.exec("mount", "-t", "tmpfs", "inside", "/mnt/inside")
			k.mount("tmpfs", filepath.Join(dir, "node"), "")
			if options, _ := c.mountedAt("/mnt/node"); (options != "") != test.intoIt {
				k.Errorf("inside, the node's mount has options %q", options)
			}
			points, err := mountPoints()
			k.must("list mounts", err)
			if seen := slices.Contains(points, filepath.Join(dir, "inside")); seen != test.outOfIt {
				k.Errorf("on the node, the container's mount is seen: %t", seen)
			} else if seen {
				k.must("unmount", unix.Unmount(filepath.Join(dir, "inside"), unix.MNT_DETACH))
			}
			k.must("RemoveContainer", c.remove())
		})
	}
}

// wantMounts compares the mounts in the status with those that were asked for,
// in any order.
func (c *container) wantMounts(want ...*cri.Mount) {
	c.Helper()
	byPath := func(a, b *cri.Mount) int { return strings.Compare(a.GetContainerPath(), b.GetContainerPath()) }
	got, want := slices.SortedFunc(slices.Values(c.status().GetMounts()), byPath), slices.SortedFunc(slices.Values(want), byPath)
	if !slices.EqualFunc(got, want, sameMount) {
		c.Errorf("the status says %v, want %v", got, want)
	}
}

// sameMount ignores what only the runtime can know.
func sameMount(a, b *cri.Mount) bool {
	a, b = proto.Clone(a).(*cri.Mount), proto.Clone(b).(*cri.Mount)
	a.SelinuxRelabel, b.SelinuxRelabel = false, false
	if a.GetImage() != nil {
		a.Image.ImageRef = b.GetImage().GetImageRef()
	}
	return proto.Equal(a, b)
}

// TestPropagationFromPrivate: what does not propagate on the node cannot do so
// into a container.
func TestPropagationFromPrivate(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	dir := k.folder()
	k.mount("tmpfs", dir, "")
	k.must("make it private", unix.Mount("", dir, "", unix.MS_PRIVATE, ""))
	for _, mode := range []cri.MountPropagation{cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, cri.MountPropagation_PROPAGATION_BIDIRECTIONAL} {
		p.wantRefused(mounted(&cri.Mount{HostPath: dir, ContainerPath: "/mnt", Propagation: mode}), "propagation", dir)
	}
}

// TestReadOnlySubmounts: a read-only mount leaves what is mounted below as it is,
// a recursive one does not, and where there is no such thing it is refused.
func TestReadOnlySubmounts(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	dir := k.folder("sub/deeper")
	k.mount("tmpfs", filepath.Join(dir, "sub"), "")
	at := func(edit func(*cri.Mount)) *cri.Mount {
		m := &cri.Mount{HostPath: dir, ContainerPath: "/mnt", Readonly: true}
		edit(m)
		return m
	}
	const try = "touch /mnt/note; touch /mnt/sub/note && echo written"
	plain := p.container(try+"; "+idle, mounted(at(func(*cri.Mount) {})))
	plain.awaitLog("written\n")
	if !strings.Contains(plain.log(), "Read-only file system") {
		k.Errorf("the read-only mount can be written to: %q", plain.log())
	}
	recursive := at(func(m *cri.Mount) { m.RecursiveReadOnly = true })
	if _, handler := k.features(); !handler.GetRecursiveReadOnlyMounts() {
		p.wantRefused(mounted(recursive), "recursive")
		return
	}
	c := p.container(try+"; "+idle, mounted(recursive))
	if options, _ := c.mountedAt("/mnt/sub"); !strings.HasPrefix(options, "ro") {
		k.Errorf("the submount has %q", options)
	}
	if strings.Contains(c.log(), "written\n") {
		k.Errorf("the submount can be written to: %q", c.log())
	}
	c.wantMounts(recursive)
	p.wantRefused(mounted(at(func(m *cri.Mount) { m.RecursiveReadOnly, m.Readonly = true, false })), "recursive", "Recursive")
	p.wantRefused(mounted(at(func(m *cri.Mount) {
		m.RecursiveReadOnly, m.Propagation = true, cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	})), "recursive", "Recursive", "propagation")
}

// TestMountOptions asks for noexec and its kin, as VolumeBindMountOptions does.
func TestMountOptions(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	features, _ := k.features()
	for _, option := range []string{"noexec", "nosuid", "nodev"} {
		k.sub(option, func(k *kubelet) {
			p := p.in(k)
			asked := &cri.Mount{HostPath: k.folder(), ContainerPath: "/mnt", MountOptions: []string{option}}
			if !features.GetMountOptions() {
				p.wantRefused(mounted(asked), "mount_options", option)
				return
			}
			c := p.container(idle, mounted(asked))
			if options, _ := c.mountedAt("/mnt"); !slices.Contains(strings.Split(options, ","), option) {
				k.Errorf("the mount has %s", options)
			}
			c.wantMounts(asked)
			k.must("RemoveContainer", c.remove())
		})
	}
	p.wantRefused(mounted(&cri.Mount{HostPath: k.folder(), ContainerPath: "/mnt", MountOptions: []string{"size=1m"}}), "mount_options", "size=1m")
}

// TestKubeletsOwnMounts are those that every pod has: files of the pod's folder,
// mounts in mounts whatever their order, and links on the node.
func TestKubeletsOwnMounts(t *testing.T) {
	k := newKubelet(t)
	dir := k.folder("volume", "secrets", "target")
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string]string{"hosts": "127.0.0.1 localhost of-the-pod\n", "termination-log": "", "secrets/token": "secret", "target/file": "behind a link"} {
		k.must("write a file", os.WriteFile(path(name), []byte(content), 0o666))
	}
	k.must("make a link", os.Symlink("target", path("link")))
	asked := []*cri.Mount{
		{HostPath: path("secrets"), ContainerPath: "/var/run/secrets/kubernetes.io/serviceaccount", Readonly: true},
		{HostPath: path("volume"), ContainerPath: "/var/run"}, // the parent of the one before
		{HostPath: path("hosts"), ContainerPath: "/etc/hosts"},
		{HostPath: path("termination-log"), ContainerPath: "/dev/termination-log"},
		{HostPath: path("link"), ContainerPath: "/link"},
	}
	c := k.pod().container("echo the end >/dev/termination-log; "+idle, mounted(asked...))
	for name, want := range map[string]string{
		"/var/run/secrets/kubernetes.io/serviceaccount/token": "secret",
		"/etc/hosts": "127.0.0.1 localhost of-the-pod\n",
		"/link/file": "behind a link",
	} {
		if got := c.exec("cat", name); got != want {
			k.Errorf("%s says %q, want %q", name, got, want)
		}
	}
	eventually(k, "the termination log is written on the node", func() bool {
		text, err := os.ReadFile(path("termination-log"))
		return err == nil && string(text) == "the end\n"
	})
	got := c.status().GetMounts()
	for _, want := range asked {
		if !slices.ContainsFunc(got, func(m *cri.Mount) bool { return m.GetContainerPath() == want.GetContainerPath() }) {
			k.Errorf("the status says %v, without %s", got, want.GetContainerPath())
		}
	}
}

// TestMountSources: a source that is not there is made or refused, and one that
// cannot be is refused.
func TestMountSources(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	dir := k.folder()
	absent := filepath.Join(dir, "not", "yet")
	if _, err := p.tryCreate(containerConfig(p.config, idle, mounted(&cri.Mount{HostPath: absent, ContainerPath: "/mnt"}))); err != nil {
		k.wantRefusal(err, absent)
	} else if info, err := os.Stat(absent); err != nil || !info.IsDir() {
		k.Errorf("the source that was not there is %v, %v", info, err)
	}
	plain := filepath.Join(dir, "file")
	k.must("write a file", os.WriteFile(plain, nil, 0o600))
	for name, m := range map[string]*cri.Mount{
		"relative source":   {HostPath: "relative", ContainerPath: "/mnt"},
		"relative target":   {HostPath: dir, ContainerPath: "mnt"},
		"below a file":      {HostPath: filepath.Join(plain, "below"), ContainerPath: "/mnt"},
		"no target":         {HostPath: dir},
		"neither of two":    {ContainerPath: "/mnt"},
		"a source too many": {HostPath: dir, ContainerPath: "/mnt", Image: &cri.ImageSpec{Image: suite.image}},
	} {
		k.sub(name, func(k *kubelet) { p.in(k).wantRefused(mounted(m), "mount", "host_path", "container_path") })
	}
}
