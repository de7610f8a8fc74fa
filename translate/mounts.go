// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"path"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// propagations pairs CRI's words with Docker's. Docker's are recursive
// throughout, as CRI means them (mount(8), "Shared subtree operations").
var propagations = []struct {
	cri    cri.MountPropagation
	docker mount.Propagation
}{
	{cri.MountPropagation_PROPAGATION_PRIVATE, mount.PropagationRPrivate},
	{cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, mount.PropagationRSlave},
	{cri.MountPropagation_PROPAGATION_BIDIRECTIONAL, mount.PropagationRShared},
	// What other clients of the engine may have asked for; only read.
	{cri.MountPropagation_PROPAGATION_PRIVATE, mount.PropagationPrivate},
	{cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, mount.PropagationSlave},
	{cri.MountPropagation_PROPAGATION_BIDIRECTIONAL, mount.PropagationShared},
}

func dockerPropagation(p cri.MountPropagation) mount.Propagation {
	for _, row := range propagations {
		if row.cri == p {
			return row.docker
		}
	}
	return mount.PropagationRPrivate
}

func criPropagation(p mount.Propagation) cri.MountPropagation {
	for _, row := range propagations {
		if row.docker == p {
			return row.cri
		}
	}
	return cri.MountPropagation_PROPAGATION_PRIVATE
}

// bindMounts expects mounts that checkMounts has passed.
func bindMounts(f Facts, mounts []*cri.Mount) []mount.Mount {
	var out []mount.Mount
	for _, m := range mounts {
		out = append(out, mount.Mount{
			Type: mount.TypeBind,
			// Cleaned as the engine will clean them, which shows them so ever after.
			Source:   path.Clean(m.GetHostPath()),
			Target:   path.Clean(m.GetContainerPath()),
			ReadOnly: m.GetReadonly(),
			BindOptions: &mount.BindOptions{
				Propagation:            dockerPropagation(m.GetPropagation()),
				ReadOnlyForceRecursive: m.GetRecursiveReadOnly(),
				// From API 1.44 a read-only bind includes its submounts unless told otherwise.
				ReadOnlyNonRecursive: m.GetReadonly() && !m.GetRecursiveReadOnly() && f.Can(ReadOnlyModes),
			},
		})
	}
	return out
}

func checkMounts(p *problems, f Facts, field string, handler string, mounts []*cri.Mount) {
	for i, m := range mounts {
		checkMount(p, f, fmt.Sprintf("%s[%d]", field, i), handler, m)
	}
}

func checkMount(p *problems, f Facts, field, handler string, m *cri.Mount) {
	if !path.IsAbs(m.GetContainerPath()) {
		p.add(field+".container_path", "%q is not an absolute path", m.GetContainerPath())
	}
	if _, known := cri.MountPropagation_name[int32(m.GetPropagation())]; !known {
		p.add(field+".propagation", "%d is unknown", m.GetPropagation())
	}
	if m.GetImageSubPath() != "" {
		p.lack(field+".image_sub_path", "image volumes are not supported yet")
	}
	if m.GetImage() != nil {
		p.lack(field+".image", "image volumes are not supported yet")
	} else if !path.IsAbs(m.GetHostPath()) {
		p.add(field+".host_path", "%q is not an absolute path", m.GetHostPath())
	}
	checkIDMapping(p, field+".uidMappings", m.GetUidMappings())
	checkIDMapping(p, field+".gidMappings", m.GetGidMappings())
	if len(m.GetMountOptions()) > 0 {
		p.lack(field+".mount_options", "mount options are not supported yet")
	}
	if m.GetRecursiveReadOnly() {
		checkRecursiveReadOnly(p, f, field+".recursive_read_only", handler, m)
	}
}

func checkIDMapping(p *problems, field string, mappings []*cri.IDMapping) {
	if len(mappings) > 0 {
		p.lack(field, "the Engine API has no id-mapped mounts; use the node's user namespace (hostUsers: true)")
	}
}

// checkRecursiveReadOnly holds to the rules that api.proto gives for the field.
func checkRecursiveReadOnly(p *problems, f Facts, field, handler string, m *cri.Mount) {
	if !m.GetReadonly() {
		p.add(field, "needs readonly as well")
	}
	if m.GetPropagation() != cri.MountPropagation_PROPAGATION_PRIVATE {
		p.add(field, "needs private propagation")
	}
	if err := f.Require(ReadOnlyModes); err != nil {
		p.wrap(field, err)
	} else if !f.handlerFeatures(handler).RecursiveReadOnlyMounts {
		p.lack(field, "the runtime of handler %q does not know it", handler)
	}
}

// statusMounts are a container's bind mounts. What Docker made of its own
// accord, such as volumes of the image, was not asked for by CRI.
func statusMounts(c container.InspectResponse) []*cri.Mount {
	recursive := map[string]bool{}
	for _, m := range c.HostConfig.Mounts {
		recursive[m.Target] = m.BindOptions != nil && m.BindOptions.ReadOnlyForceRecursive
	}
	var out []*cri.Mount
	for _, m := range c.Mounts {
		if m.Type != mount.TypeBind {
			continue
		}
		out = append(out, &cri.Mount{
			HostPath:          m.Source,
			ContainerPath:     m.Destination,
			Readonly:          !m.RW,
			Propagation:       criPropagation(m.Propagation),
			RecursiveReadOnly: recursive[m.Destination],
		})
	}
	return out
}

// mountPoints is how the engine will show mounts in its answer to inspect.
func mountPoints(mounts []mount.Mount) []container.MountPoint {
	var out []container.MountPoint
	for _, m := range mounts {
		out = append(out, container.MountPoint{
			Type: m.Type, Source: m.Source, Destination: m.Target, RW: !m.ReadOnly, Propagation: m.BindOptions.Propagation,
		})
	}
	return out
}
