// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestPropagation(t *testing.T) {
	for number, name := range cri.MountPropagation_name {
		p := cri.MountPropagation(number)
		if got := criPropagation(dockerPropagation(p)); got != p {
			t.Errorf("%s is %s to Docker, which reads back as %v", name, dockerPropagation(p), got)
		}
	}
	for docker, want := range map[mount.Propagation]cri.MountPropagation{
		mount.PropagationSlave:  cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER,
		mount.PropagationShared: cri.MountPropagation_PROPAGATION_BIDIRECTIONAL,
		"":                      cri.MountPropagation_PROPAGATION_PRIVATE,
		"unheard-of":            cri.MountPropagation_PROPAGATION_PRIVATE,
	} {
		if got := criPropagation(docker); got != want {
			t.Errorf("%q reads as %v, want %v", docker, got, want)
		}
	}
}

func TestStatusMounts(t *testing.T) {
	asked := []*cri.Mount{
		{HostPath: "/srv", ContainerPath: "/data"},
		{HostPath: "/srv", ContainerPath: "/ro", Readonly: true, Propagation: cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER},
		{HostPath: "/srv", ContainerPath: "/rro", Readonly: true, RecursiveReadOnly: true},
		{HostPath: "/srv", ContainerPath: "/noexec", Readonly: true, MountOptions: []string{"noexec"}},
		{ContainerPath: "/models", Image: &cri.ImageSpec{Image: "models:1"}, ImageSubPath: "small"},
		{ContainerPath: "/twice", Image: &cri.ImageSpec{Image: "models:1"}},
	}
	image := VolumeImage{ID: "sha256:1", Layers: []string{"/layer"}, Ref: "models@sha256:2"}
	body, _, err := ContainerBody(capable(), Container{
		Config:  &cri.ContainerConfig{Metadata: &cri.ContainerMetadata{Name: "app"}, Mounts: asked},
		Volumes: map[int]VolumeImage{4: image, 5: image},
		Staged:  map[int]string{3: "/run/3", 5: "/run/5"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := CreatedInspect(body, "id", "image", time.Now())
	c.Mounts = append(c.Mounts, container.MountPoint{Type: mount.TypeVolume, Name: "of the image", Destination: "/var/lib"})
	if got, want := VolumeImages(c.Config.Labels), []string{"sha256:1", "sha256:1"}; !slices.Equal(got, want) {
		t.Errorf("images %v are mounted, want %v", got, want)
	}
	for _, m := range asked[4:] {
		m.Readonly, m.Image.ImageRef = true, image.Ref
	}
	got := statusMounts(c)
	if len(got) != len(asked) {
		t.Fatalf("%d mounts, want %d", len(got), len(asked))
	}
	for i := range asked {
		if !proto.Equal(got[i], asked[i]) {
			t.Errorf("%v, want %v", got[i], asked[i])
		}
	}
}

// Older shims asked for mounts in HostConfig.Binds.
func TestStatusMountsOfOlderShim(t *testing.T) {
	got := statusMounts(container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{HostConfig: &container.HostConfig{Binds: []string{"/srv:/data:ro"}}},
		Config:            &container.Config{},
		Mounts:            []container.MountPoint{{Type: mount.TypeBind, Source: "/srv", Destination: "/data", Propagation: "rprivate"}},
	})
	want := &cri.Mount{HostPath: "/srv", ContainerPath: "/data", Readonly: true}
	if len(got) != 1 || !proto.Equal(got[0], want) {
		t.Errorf("%v, want %v", got, want)
	}
}
