// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/container"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	cdi "tags.cncf.io/container-device-interface/specs-go"
)

// cdiRequests asks the engine to find devices by their CDI names.
func cdiRequests(devices []*cri.CDIDevice) []container.DeviceRequest {
	if len(devices) == 0 {
		return nil
	}
	r := container.DeviceRequest{Driver: "cdi"}
	for _, d := range devices {
		r.DeviceIDs = append(r.DeviceIDs, d.GetName())
	}
	return []container.DeviceRequest{r}
}

// CDIEdits is what the CDI specification of a device, or of its vendor, changes
// in a container.
type CDIEdits struct {
	// Device is the CDI name, for messages.
	Device string
	Edits  *cdi.ContainerEdits
}

// ExpandCDI turns CDI names, which the engine does not know, into the
// variables, devices, mounts and groups that they stand for. What Docker cannot
// do for any container is refused.
func ExpandCDI(c *cri.ContainerConfig, all []CDIEdits) (*cri.ContainerConfig, []Notice, error) {
	c = proto.Clone(c).(*cri.ContainerConfig)
	c.CDIDevices = nil
	var p problems
	var notices []Notice
	for _, e := range all {
		checkCDI(&p, e)
		addVariables(c, e)
		for _, d := range e.Edits.DeviceNodes {
			c.Devices = append(c.Devices, cdiDevice(d))
			if d.FileMode != nil || d.UID != nil || d.GID != nil {
				notices = append(notices, Notice{cdiField, e.Device + ": " + d.Path + " keeps the owner and the mode that it has on the node"})
			}
		}
		for _, m := range e.Edits.Mounts {
			c.Mounts = append(c.Mounts, cdiMount(&p, e.Device, m))
		}
		for _, gid := range e.Edits.AdditionalGIDs {
			addGroup(c, gid)
		}
	}
	return c, notices, p.err()
}

// WithCDIVariables adds the variables alone: an engine that finds devices by name
// gives them to a container's first process, and not to commands that are run in
// it later.
func WithCDIVariables(c *cri.ContainerConfig, all []CDIEdits) *cri.ContainerConfig {
	c = proto.Clone(c).(*cri.ContainerConfig)
	for _, e := range all {
		addVariables(c, e)
	}
	return c
}

func addVariables(c *cri.ContainerConfig, e CDIEdits) {
	for _, v := range e.Edits.Env {
		key, value, _ := strings.Cut(v, "=")
		c.Envs = append(c.Envs, &cri.KeyValue{Key: key, Value: []byte(value)})
	}
}

const cdiField = "config.CDI_devices"

func checkCDI(p *problems, e CDIEdits) {
	for _, one := range []struct {
		what string
		has  bool
	}{
		{"hooks", len(e.Edits.Hooks) > 0},
		{"network devices", len(e.Edits.NetDevices) > 0},
		{"Intel RDT", e.Edits.IntelRdt != nil},
	} {
		if one.has {
			p.lack(cdiField, "%s needs %s, for which the engine has to know CDI itself: use Docker Engine 28 or newer, or switch its feature \"cdi\" on", e.Device, one.what)
		}
	}
}

func cdiDevice(d *cdi.DeviceNode) *cri.Device {
	return &cri.Device{HostPath: firstOf(d.HostPath, d.Path), ContainerPath: d.Path, Permissions: d.Permissions}
}

// cdiMount reads the options of mount(8) in a CDI specification.
func cdiMount(p *problems, device string, m *cdi.Mount) *cri.Mount {
	out := &cri.Mount{HostPath: m.HostPath, ContainerPath: m.ContainerPath}
	if m.Type != "" && m.Type != "bind" && m.Type != "none" {
		p.lack(cdiField, "%s needs a mount of type %s, for which the engine has to know CDI itself", device, m.Type)
	}
	for _, o := range m.Options {
		switch o {
		case "ro":
			out.Readonly = true
		case "rslave", "slave":
			out.Propagation = cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
		case "rshared", "shared":
			out.Propagation = cri.MountPropagation_PROPAGATION_BIDIRECTIONAL
		case "rw", "bind", "rbind", "private", "rprivate", "exec", "suid", "dev":
			// The engine does so anyway.
		default:
			out.MountOptions = append(out.MountOptions, o) // checked where all mounts are
		}
	}
	return out
}

func addGroup(c *cri.ContainerConfig, gid uint32) {
	if c.Linux == nil {
		c.Linux = &cri.LinuxContainerConfig{}
	}
	if c.Linux.SecurityContext == nil {
		c.Linux.SecurityContext = &cri.LinuxContainerSecurityContext{}
	}
	c.Linux.SecurityContext.SupplementalGroups = append(c.Linux.SecurityContext.SupplementalGroups, int64(gid))
}

// UnknownCDI refuses CDI names that no specification on the node has.
func UnknownCDI(c *cri.ContainerConfig, known func(name string) bool, folders []string) error {
	var p problems
	for i, d := range c.GetCDIDevices() {
		if !known(d.GetName()) {
			p.add(fmt.Sprintf("%s[%d].name", cdiField, i), "%q is in no CDI specification of %s", d.GetName(), strings.Join(folders, ", "))
		}
	}
	return p.err()
}
