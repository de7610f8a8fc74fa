// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"reflect"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestUpdateBody(t *testing.T) {
	for _, c := range []struct {
		about string
		asked *cri.LinuxContainerResources
		want  container.Resources
	}{
		{"nothing", nil, container.Resources{}},
		{"CPU alone leaves memory as it is", &cri.LinuxContainerResources{CpuQuota: 50000, CpuPeriod: 100000}, container.Resources{CPUQuota: 50000, CPUPeriod: 100000}},
		{"no CPU limit", &cri.LinuxContainerResources{CpuQuota: -1}, container.Resources{CPUQuota: -1}},
		{"memory takes swap along, or the engine would refuse it", &cri.LinuxContainerResources{MemoryLimitInBytes: 1 << 26},
			container.Resources{Memory: 1 << 26, MemorySwap: 1 << 26}},
		{"swap besides memory", &cri.LinuxContainerResources{MemoryLimitInBytes: 1 << 26, MemorySwapLimitInBytes: 1 << 27},
			container.Resources{Memory: 1 << 26, MemorySwap: 1 << 27}},
	} {
		got, _, err := UpdateBody(capable(), c.asked)
		if err != nil || !reflect.DeepEqual(got, Update{Engine: container.UpdateConfig{Resources: c.want}}) {
			t.Errorf("%s: %+v, %v, want %+v", c.about, got, err, c.want)
		}
	}
	if _, _, err := UpdateBody(capable(), &cri.LinuxContainerResources{CpuShares: -1}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("negative shares: %v, want an invalid argument", err)
	}
	// Docker takes it and does nothing.
	if _, _, err := UpdateBody(capable(), &cri.LinuxContainerResources{MemorySwapLimitInBytes: -1}); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("swap without limit: %v, want a failed precondition", err)
	}
}

func TestOOMScore(t *testing.T) {
	for _, c := range []struct {
		floor, want, got int
		notices          int
	}{
		{oomScoreMin, -998, -998, 0},
		{-998, -998, -998, 0},
		{-500, -998, -500, 1},
		{0, -1, 0, 1},
		{0, 0, 0, 0},
		{0, 1000, 1000, 0},
		{300, 0, 300, 1},
	} {
		got, notices := oomScore(Facts{OOMScoreFloor: c.floor}, "field", c.want)
		if got != c.got || len(notices) != c.notices {
			t.Errorf("%d above a floor of %d: %d with %d notices, want %d with %d", c.want, c.floor, got, len(notices), c.got, c.notices)
		}
	}
}
