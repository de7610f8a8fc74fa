// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
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

// VolumeImage is an image that is mounted into a container.
type VolumeImage struct {
	// ID is the engine's.
	ID string
	// Layers are the directories of its layers on the node, topmost first; nil
	// where the engine's image store does not tell.
	Layers []string
	// Ref is the reference by which the container's status names it.
	Ref string
}

// mounts are what the engine mounts. It expects mounts that checkMounts has passed.
func mounts(f Facts, c Container) []mount.Mount {
	staged := map[int]bool{}
	for _, i := range Staged(f, c) {
		staged[i] = true
	}
	var out []mount.Mount
	for i, m := range c.Config.GetMounts() {
		switch {
		case staged[i]:
			out = append(out, stagedMount(c.Staged[i], m))
		case m.GetImage() != nil:
			out = append(out, imageMount(c.Volumes[i], m))
		default:
			out = append(out, bindMount(f, m))
		}
	}
	return out
}

func bindMount(f Facts, m *cri.Mount) mount.Mount {
	return mount.Mount{
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
	}
}

// stagedMount binds what was mounted on the node with all its options, also with
// the one that makes it read-only: runc up to 1.1 drops the others if it has to
// set that.
func stagedMount(source string, m *cri.Mount) mount.Mount {
	return mount.Mount{
		Type: mount.TypeBind, Source: source, Target: path.Clean(m.GetContainerPath()),
		BindOptions: &mount.BindOptions{Propagation: dockerPropagation(m.GetPropagation())},
	}
}

func imageMount(image VolumeImage, m *cri.Mount) mount.Mount {
	out := mount.Mount{Type: mount.TypeImage, Source: image.ID, Target: path.Clean(m.GetContainerPath())}
	if m.GetImageSubPath() != "" {
		out.ImageOptions = &mount.ImageOptions{Subpath: m.GetImageSubPath()}
	}
	return out
}

// Staged are the indices of the mounts that have to be made on the node first,
// because the engine cannot: those with options, and images where it mounts none,
// or none a second time.
func Staged(f Facts, c Container) []int {
	var out []int
	seen := map[string]bool{}
	for i, m := range c.Config.GetMounts() {
		image := c.Volumes[i].ID
		switch {
		case m.GetImage() == nil && len(m.GetMountOptions()) == 0:
			continue
		case m.GetImage() != nil && len(m.GetMountOptions()) == 0 && f.Can(ImageMounts) && !seen[image]:
			seen[image] = true
			continue
		}
		out = append(out, i)
	}
	return out
}

// mountOptions are those that CRI defines for a mount.
var mountOptions = []string{"noexec", "nosuid", "nodev"}

func checkMounts(p *problems, f Facts, field string, c Container) {
	for i, m := range c.Config.GetMounts() {
		checkMount(p, f, fmt.Sprintf("%s[%d]", field, i), c.Handler, m)
	}
	for _, i := range Staged(f, c) {
		if m := c.Config.GetMounts()[i]; m.GetImage() != nil && c.Volumes[i].Layers == nil {
			checkStagedImage(p, f, fmt.Sprintf("%s[%d].image", field, i), m)
		}
	}
}

// checkStagedImage tells why an image cannot be mounted whose layers are not to
// be found.
func checkStagedImage(p *problems, f Facts, field string, m *cri.Mount) {
	if err := f.Require(ImageMounts); err != nil {
		p.wrap(field, err)
		return
	}
	p.lack(field, "%q: from this image store the engine mounts an image once in a container, and without options", m.GetImage().GetImage())
}

func checkMount(p *problems, f Facts, field, handler string, m *cri.Mount) {
	if !path.IsAbs(m.GetContainerPath()) {
		p.add(field+".container_path", "%q is not an absolute path", m.GetContainerPath())
	}
	if _, known := cri.MountPropagation_name[int32(m.GetPropagation())]; !known {
		p.add(field+".propagation", "%d is unknown", m.GetPropagation())
	}
	if m.GetImage() != nil {
		checkImageMount(p, field, m)
	} else {
		checkBind(p, field, m)
	}
	checkIDMapping(p, field+".uidMappings", m.GetUidMappings())
	checkIDMapping(p, field+".gidMappings", m.GetGidMappings())
	for i, o := range m.GetMountOptions() {
		if !slices.Contains(mountOptions, o) {
			p.add(fmt.Sprintf("%s.mount_options[%d]", field, i), "%q is none of %s", o, strings.Join(mountOptions, ", "))
		}
	}
	if m.GetRecursiveReadOnly() {
		checkRecursiveReadOnly(p, f, field+".recursive_read_only", handler, m)
	}
}

func checkBind(p *problems, field string, m *cri.Mount) {
	if !path.IsAbs(m.GetHostPath()) {
		p.add(field+".host_path", "%q is not an absolute path", m.GetHostPath())
	}
	if m.GetImageSubPath() != "" {
		p.add(field+".image_sub_path", "%q is only for a mount of an image", m.GetImageSubPath())
	}
}

// checkImageMount: an image is read-only in any case, and nothing comes and goes
// inside it.
func checkImageMount(p *problems, field string, m *cri.Mount) {
	if m.GetImage().GetImage() == "" {
		p.add(field+".image.image", "is required")
	}
	if m.GetHostPath() != "" {
		p.add(field+".host_path", "%q cannot be given together with an image", m.GetHostPath())
	}
	if s := m.GetImageSubPath(); path.IsAbs(s) || slices.Contains(strings.Split(s, "/"), "..") {
		p.add(field+".image_sub_path", "%q is not a relative path inside the image", s)
	}
	if m.GetPropagation() != cri.MountPropagation_PROPAGATION_PRIVATE {
		p.add(field+".propagation", "of an image can only be PROPAGATION_PRIVATE")
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

// labelledMount is one entry of the label: a mount as it was asked for, and the
// engine's id of the image that it is of.
type labelledMount struct {
	Mount   json.RawMessage `json:"mount"`
	ImageID string          `json:"imageID,omitempty"`
}

// labelledMounts is the label for the mounts that the engine will not show as
// they were asked for; "" when there are none.
func labelledMounts(f Facts, c Container) string {
	staged := Staged(f, c)
	var out []labelledMount
	for i, m := range c.Config.GetMounts() {
		if m.GetImage() == nil && !slices.Contains(staged, i) {
			continue
		}
		m = proto.Clone(m).(*cri.Mount)
		m.ContainerPath = path.Clean(m.GetContainerPath())
		if m.Image != nil {
			m.Readonly = true
			m.Image.ImageRef = c.Volumes[i].Ref
			m.Image.Annotations, m.Image.RuntimeHandler = nil, "" // which have no effect
		}
		text, err := protojson.Marshal(m)
		if err != nil {
			continue // text that is no UTF-8, which gRPC does not let through
		}
		out = append(out, labelledMount{text, c.Volumes[i].ID})
	}
	if out == nil {
		return ""
	}
	text, _ := json.Marshal(out) // what is JSON cannot fail
	return string(text)
}

// mountsInLabel reads labelledMounts back, by path in the container.
func mountsInLabel(labels map[string]string) map[string]*cri.Mount {
	out := map[string]*cri.Mount{}
	for _, l := range readLabelledMounts(labels) {
		m := &cri.Mount{}
		if protojson.Unmarshal(l.Mount, m) == nil {
			out[m.GetContainerPath()] = m
		}
	}
	return out
}

// readLabelledMounts is empty where there is no such label, or no such text.
func readLabelledMounts(labels map[string]string) (all []labelledMount) {
	_ = json.Unmarshal([]byte(labels[labelMounts]), &all)
	return all
}

// VolumeImages are the ids of the images that are mounted into a container, by
// its Docker labels.
func VolumeImages(labels map[string]string) (ids []string) {
	for _, l := range readLabelledMounts(labels) {
		if l.ImageID != "" {
			ids = append(ids, l.ImageID)
		}
	}
	return ids
}

// statusMounts are a container's mounts, as they were asked for. What Docker
// made of its own accord, such as volumes of the image, was not asked for by CRI.
func statusMounts(c container.InspectResponse) []*cri.Mount {
	recursive := map[string]bool{}
	for _, m := range c.HostConfig.Mounts {
		recursive[m.Target] = m.BindOptions != nil && m.BindOptions.ReadOnlyForceRecursive
	}
	labelled := mountsInLabel(c.Config.Labels)
	var out []*cri.Mount
	for _, m := range c.Mounts {
		switch asked := labelled[m.Destination]; {
		case asked != nil:
			out = append(out, asked)
		case m.Type == mount.TypeBind:
			out = append(out, &cri.Mount{
				HostPath:          m.Source,
				ContainerPath:     m.Destination,
				Readonly:          !m.RW,
				Propagation:       criPropagation(m.Propagation),
				RecursiveReadOnly: recursive[m.Destination],
			})
		}
	}
	return out
}

// mountPoints is how the engine will show mounts in its answer to inspect.
func mountPoints(mounts []mount.Mount) []container.MountPoint {
	var out []container.MountPoint
	for _, m := range mounts {
		point := container.MountPoint{Type: m.Type, Source: m.Source, Destination: m.Target, RW: !m.ReadOnly}
		if m.BindOptions != nil {
			point.Propagation = m.BindOptions.Propagation
		}
		out = append(out, point)
	}
	return out
}

// Layers are the directories of an image's layers on the node, topmost first.
// They are known only of Docker's own image store on overlay2.
func Layers(i image.InspectResponse) []string {
	if i.GraphDriver.Name != "overlay2" || i.GraphDriver.Data["UpperDir"] == "" {
		return nil
	}
	out := []string{i.GraphDriver.Data["UpperDir"]}
	if lower := i.GraphDriver.Data["LowerDir"]; lower != "" {
		out = append(out, strings.Split(lower, ":")...)
	}
	return out
}
