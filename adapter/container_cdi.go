// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"tags.cncf.io/container-device-interface/pkg/cdi"

	"github.com/dockershimd/dockershimd/translate"
)

// resolveCDI checks that the node knows the CDI devices of a container, and
// puts what they stand for in their place where the engine does not do that.
func (s *Server) resolveCDI(ctx context.Context, c *cri.ContainerConfig) (*cri.ContainerConfig, error) {
	if len(c.GetCDIDevices()) == 0 {
		return c, nil
	}
	n := s.node.Load()
	folders := n.info.CDISpecDirs
	if len(folders) == 0 {
		folders = cdi.DefaultSpecDirs
	}
	// Read anew each time: device plugins write specifications just before.
	specs, err := cdi.NewCache(cdi.WithSpecDirs(folders...), cdi.WithAutoRefresh(false))
	if err != nil {
		return nil, fmt.Errorf("read the CDI specifications of %v: %w", folders, err)
	}
	known := func(name string) bool { return specs.GetDevice(name) != nil }
	if err := translate.UnknownCDI(c, known, folders); err != nil {
		return c, err
	}
	edits := cdiEdits(specs, c.GetCDIDevices())
	if n.CDI {
		return translate.WithCDIVariables(c, edits), nil
	}
	c, notices, err := translate.ExpandCDI(c, edits)
	logNotices(ctx, notices)
	return c, err
}

// cdiEdits are those of each device, after those that its specification has for
// all of its devices, once.
func cdiEdits(specs *cdi.Cache, devices []*cri.CDIDevice) []translate.CDIEdits {
	var out []translate.CDIEdits
	seen := map[*cdi.Spec]bool{}
	for _, d := range devices {
		device := specs.GetDevice(d.GetName())
		if spec := device.GetSpec(); !seen[spec] {
			seen[spec] = true
			out = append(out, translate.CDIEdits{Device: d.GetName(), Edits: &spec.ContainerEdits})
		}
		out = append(out, translate.CDIEdits{Device: d.GetName(), Edits: &device.ContainerEdits})
	}
	return out
}
