// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Everything that is wrong is told, in one line.
func TestCheckNode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "absent")
	err := checkNode(&cri.ContainerConfig{Devices: []*cri.Device{
		{HostPath: "/dev/null"}, {HostPath: "/dev"}, {HostPath: file}, {HostPath: "/proc/self/status"}, {HostPath: "relative"},
	}})
	wantKind(t, err, errdefs.IsInvalidArgument)
	for _, part := range []string{"config.devices[2].host_path: stat " + file, "; config.devices[3].host_path: "} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than a line", err)
	}
	if err := checkNode(&cri.ContainerConfig{Devices: []*cri.Device{{HostPath: "/dev/null"}}}); err != nil {
		t.Error(err)
	}
}

// A path that is not there yet is on the mount of what is there of it.
func TestMountOf(t *testing.T) {
	dir := t.TempDir()
	there, err := mountOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	absent, err := mountOf(filepath.Join(dir, "not", "yet"))
	if err != nil || absent.Mountpoint != there.Mountpoint {
		t.Errorf("%v and %v, %v", there, absent, err)
	}
	if proc, err := mountOf("/proc/self/status"); err != nil || proc.FSType != "proc" {
		t.Errorf("/proc is on %v, %v", proc, err)
	}
}
