// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"path"
	"strings"

	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// allDeviceAccess is what Docker grants where a device names no permissions:
// read, write and mknod.
const allDeviceAccess = "rwm"

func deviceMappings(devices []*cri.Device) []container.DeviceMapping {
	var out []container.DeviceMapping
	for _, d := range devices {
		out = append(out, container.DeviceMapping{
			PathOnHost:        d.GetHostPath(),
			PathInContainer:   firstOf(d.GetContainerPath(), d.GetHostPath()),
			CgroupPermissions: firstOf(d.GetPermissions(), allDeviceAccess),
		})
	}
	return out
}

func checkDevices(p *problems, field string, devices []*cri.Device) {
	for i, d := range devices {
		at := fmt.Sprintf("%s[%d]", field, i)
		if !path.IsAbs(d.GetHostPath()) {
			p.add(at+".host_path", "%q is not an absolute path", d.GetHostPath())
		}
		if d.GetContainerPath() != "" && !path.IsAbs(d.GetContainerPath()) {
			p.add(at+".container_path", "%q is not an absolute path", d.GetContainerPath())
		}
		if strings.Trim(d.GetPermissions(), allDeviceAccess) != "" {
			p.add(at+".permissions", "%q: only r, w and m are known", d.GetPermissions())
		}
	}
}
