// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	cdi "tags.cncf.io/container-device-interface/specs-go"
)

// What a name stands for goes after what the container asks for itself.
func TestExpandCDI(t *testing.T) {
	asked := &cri.ContainerConfig{
		Envs:       []*cri.KeyValue{{Key: "OWN", Value: []byte("1")}},
		CDIDevices: []*cri.CDIDevice{{Name: "vendor.com/device=0"}},
	}
	before := proto.Clone(asked)
	mode := os.FileMode(0o600)
	got, notices, err := ExpandCDI(asked, []CDIEdits{
		{"vendor.com/device=0", &cdi.ContainerEdits{Env: []string{"OF=all=of them"}}},
		{"vendor.com/device=0", &cdi.ContainerEdits{
			DeviceNodes: []*cdi.DeviceNode{{Path: "/dev/a", FileMode: &mode}, {Path: "/dev/b", HostPath: "/dev/c", Permissions: "r"}},
			Mounts: []*cdi.Mount{
				{HostPath: "/lib/v", ContainerPath: "/lib/v", Options: []string{"ro", "nosuid", "nodev", "rbind", "rprivate"}},
				{HostPath: "/run/v", ContainerPath: "/run/v", Type: "bind", Options: []string{"rslave"}},
			},
			AdditionalGIDs: []uint32{44},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &cri.ContainerConfig{
		Envs:    []*cri.KeyValue{{Key: "OWN", Value: []byte("1")}, {Key: "OF", Value: []byte("all=of them")}},
		Devices: []*cri.Device{{HostPath: "/dev/a", ContainerPath: "/dev/a"}, {HostPath: "/dev/c", ContainerPath: "/dev/b", Permissions: "r"}},
		Mounts: []*cri.Mount{
			{HostPath: "/lib/v", ContainerPath: "/lib/v", Readonly: true, MountOptions: []string{"nosuid", "nodev"}},
			{HostPath: "/run/v", ContainerPath: "/run/v", Propagation: cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER},
		},
		Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{SupplementalGroups: []int64{44}}},
	}
	if !proto.Equal(got, want) {
		t.Errorf("%v,\nwant %v", got, want)
	}
	if len(notices) != 1 || !strings.Contains(notices[0].Text, "/dev/a") {
		t.Errorf("notices %v", notices)
	}
	if !proto.Equal(asked, before) {
		t.Error("the request itself was changed")
	}
}

// What Docker can do for no container needs an engine that knows CDI.
func TestExpandCDIRefused(t *testing.T) {
	for what, edits := range map[string]*cdi.ContainerEdits{
		"hooks":           {Hooks: []*cdi.Hook{{HookName: "prestart"}}},
		"network devices": {NetDevices: []*cdi.LinuxNetDevice{{Name: "eth7"}}},
		"Intel RDT":       {IntelRdt: &cdi.IntelRdt{}},
		"type tmpfs":      {Mounts: []*cdi.Mount{{Type: "tmpfs"}}},
	} {
		_, _, err := ExpandCDI(&cri.ContainerConfig{}, []CDIEdits{{"vendor.com/device=0", edits}})
		if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "vendor.com/device=0") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestUnknownCDI(t *testing.T) {
	c := &cri.ContainerConfig{CDIDevices: []*cri.CDIDevice{{Name: "a/b=c"}, {Name: "a/b=d"}}}
	err := UnknownCDI(c, func(name string) bool { return name == "a/b=c" }, []string{"/etc/cdi", "/var/run/cdi"})
	if !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), `config.CDI_devices[1].name: "a/b=d" is in no CDI specification of /etc/cdi, /var/run/cdi`) {
		t.Error(err)
	}
}
