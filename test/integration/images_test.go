// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (n *node) pull(ref string, auth *cri.AuthConfig) (id string, err error) {
	r, err := n.images.PullImage(n.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}, Auth: auth})
	return r.GetImageRef(), err
}

// imageStatus is nil for an image that is not there.
func (n *node) imageStatus(ref string) *cri.Image {
	n.Helper()
	r, err := n.images.ImageStatus(n.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: ref}})
	n.must("ImageStatus", err)
	return r.GetImage()
}

func (n *node) listImages(filter *cri.ImageFilter) []*cri.Image {
	n.Helper()
	r, err := n.images.ListImages(n.Context(), &cri.ListImagesRequest{Filter: filter})
	n.must("ListImages", err)
	return r.GetImages()
}

func (n *node) removeImage(ref string) error {
	_, err := n.images.RemoveImage(n.Context(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: ref}})
	return err
}

// TestPullImage pulls by tag and by digest, and looks the image up by all its
// names: it has one id everywhere.
func TestPullImage(t *testing.T) {
	n := newNode(t)
	host := n.registry(false)
	for name, by := range map[string]func(tag, digest string) string{
		"by tag":            func(tag, _ string) string { return tag },
		"by digest":         func(_, digest string) string { return digest },
		"by tag and digest": func(tag, digest string) string { return tag + digest[strings.Index(digest, "@"):] },
	} {
		n.sub(name, func(n *node) {
			tag := host + "/" + strings.ReplaceAll(name, " ", "-") + ":1"
			digest := n.publish(tag)
			n.wantPulled(by(tag, digest), digest)
		})
	}
}

// wantPulled pulls an image, twice, and removes it, twice.
func (n *node) wantPulled(ref, digest string) {
	n.Helper()
	if i := n.imageStatus(ref); i != nil {
		n.Fatalf("there before the pull: %v", i)
	}
	id, err := n.pull(ref, nil)
	n.must("PullImage", err)
	if again, err := n.pull(ref, nil); err != nil || again != id {
		n.Errorf("pulled again it is %s, %v; want %s", again, err, id)
	}
	for _, name := range []string{ref, digest, id, strings.TrimPrefix(id, "sha256:"), strings.TrimPrefix(id, "sha256:")[:12]} {
		i := n.imageStatus(name)
		if i.GetId() != id || !slices.Contains(i.GetRepoDigests(), digest) || i.GetUid().GetValue() != 1234 || i.GetSize() == 0 || i.GetPinned() {
			n.Errorf("status by %s: %v", name, i)
		}
		if list := n.listImages(&cri.ImageFilter{Image: &cri.ImageSpec{Image: name}}); len(list) != 1 || list[0].GetId() != id {
			n.Errorf("list by %s: %v", name, list)
		}
	}
	if !slices.Contains(idsOf(n.listImages(nil)), id) {
		n.Errorf("%s is not in the list of all", id)
	}
	for range 2 {
		n.must("RemoveImage", n.removeImage(ref))
		if i := n.imageStatus(id); i != nil {
			n.Errorf("there after RemoveImage: %v", i)
		}
	}
}

// TestPullRefused: what the registry says is told apart.
func TestPullRefused(t *testing.T) {
	n := newNode(t)
	open, private := n.registry(false), n.registry(true)
	n.publish(open + "/image:1")
	n.publish(private + "/image:1")
	right := &cri.AuthConfig{Username: registryUser, Password: registryPassword}
	wrong := &cri.AuthConfig{Username: registryUser, Password: "guessed"}
	for name, test := range map[string]struct {
		ref  string
		auth *cri.AuthConfig
		code codes.Code
	}{
		"missing tag":          {open + "/image:2", nil, codes.NotFound},
		"missing repository":   {open + "/other:1", nil, codes.NotFound},
		"missing digest":       {open + "/image@sha256:" + strings.Repeat("0", 64), nil, codes.NotFound},
		"no registry":          {"127.0.0.1:1/image:1", nil, codes.Unknown}, // see kubeletSees
		"no credentials":       {private + "/image:1", nil, codes.Unauthenticated},
		"wrong credentials":    {private + "/image:1", wrong, codes.Unauthenticated},
		"no name":              {"no/UPPER", nil, codes.InvalidArgument},
		"nothing":              {"", nil, codes.InvalidArgument},
		"auth that is no auth": {open + "/image:1", &cri.AuthConfig{Auth: "???"}, codes.InvalidArgument},
	} {
		n.sub(name, func(n *node) {
			_, err := n.pull(test.ref, test.auth)
			n.wantCode("PullImage", err, test.code)
		})
	}
	id, err := n.pull(private+"/image:1", right)
	n.must("pull with the right credentials", err)
	n.must("RemoveImage", n.removeImage(id))
}

// TestContainerImage: a container shows its image as it was asked for, and with
// the id that PullImage gave.
func TestContainerImage(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	c := p.create(p.containerConfig(idle, func(c *cri.ContainerConfig) {
		c.Image = &cri.ImageSpec{Image: busybox, UserSpecifiedImage: "busybox"}
	}))
	image := n.imageStatus(busybox)
	id, ref := image.GetId(), "docker://"+image.GetId()
	if digests := image.GetRepoDigests(); len(digests) > 0 { // which all have in the containerd image store
		ref = "docker-pullable://" + digests[0]
	}
	status, listed := c.status(), n.listContainers(nil)[0]
	if status.GetImageId() != id || listed.GetImageId() != id || listed.GetImageRef() != id || status.GetImageRef() != ref {
		n.Errorf("image id %s, and of the container %s %s, listed %s %s", id, status.GetImageId(), status.GetImageRef(), listed.GetImageId(), listed.GetImageRef())
	}
	if status.GetImage().GetUserSpecifiedImage() != "busybox" {
		n.Errorf("asked for as %v", status.GetImage())
	}
	byID := p.create(p.containerConfig(idle, func(c *cri.ContainerConfig) { c.Image.Image = id }))
	if got := byID.status().GetImageId(); got != id {
		n.Errorf("created by id, the image is %s", got)
	}
}

// TestRemoveImage: all tags go at once, and nothing that is in use.
func TestRemoveImage(t *testing.T) {
	n := newNode(t)
	const ref, second = "localhost/integration-remove:1", "localhost/integration-remove:2"
	n.engine.makeImage(n, ref, imageFiles(n), "ENV PATH=/bin")
	t.Cleanup(func() { n.engine.removeImage(t, ref); n.engine.removeImage(t, second) })
	n.must("tag", n.engine.ImageTag(n.Context(), ref, second))
	eventually(n, "a tag made by somebody else shows", func() bool { return n.imageStatus(second) != nil })
	id := n.imageStatus(ref).GetId()

	p := n.pod()
	c := p.create(p.containerConfig(idle, func(c *cri.ContainerConfig) { c.Image.Image = ref }))
	for _, name := range []string{ref, second, id} {
		if message := n.wantCode("RemoveImage of "+name, n.removeImage(name), codes.FailedPrecondition); !strings.Contains(message, c.id) {
			n.Errorf("the message %q does not name the container", message)
		}
	}
	c.remove()
	n.must("RemoveImage", n.removeImage(second))
	for _, name := range []string{ref, second, id} {
		if i := n.imageStatus(name); i != nil {
			n.Errorf("%s is still there: %v", name, i)
		}
	}
	n.must("RemoveImage, once more", n.removeImage(second))
	n.must("RemoveImage of what never was", n.removeImage("localhost/never:1"))
	n.wantCode("RemoveImage of nothing", n.removeImage(""), codes.InvalidArgument)
}

// TestPauseImage: the registry of the configured image cannot be reached here,
// so a built-in one serves, and garbage collection must leave it alone.
func TestPauseImage(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	used := n.engine.inspect(n, p.id).Image
	var pinned []string
	for _, i := range n.listImages(nil) {
		if i.GetPinned() {
			pinned = append(pinned, i.GetId())
		}
	}
	if len(pinned) != 1 || pinned[0] != used || !n.imageStatus(used).GetPinned() {
		n.Errorf("pinned are %q, and the sandbox uses %s", pinned, used)
	}
	if n.imageStatus(busybox).GetPinned() {
		n.Error("an ordinary image is pinned")
	}
}

// TestConfiguredPauseImage: one that the engine has is taken.
func TestConfiguredPauseImage(t *testing.T) {
	const ref = "localhost/integration-pause:1"
	needRig(t)
	e := dialEngine(t)
	e.makeImage(t, ref, imageFiles(t), "ENV PATH=/bin", `CMD ["sleep", "100000"]`)
	t.Cleanup(func() { e.removeImage(t, ref) })
	n := newNode(t, "--pod-infra-container-image="+ref)
	p := n.pod()
	if used, want := n.engine.inspect(n, p.id).Image, n.imageStatus(ref); used != want.GetId() || !want.GetPinned() {
		n.Errorf("the sandbox runs %s, and configured is %v", used, want)
	}
}

// TestImageUser: the kubelet decides by it whether runAsNonRoot holds.
func TestImageUser(t *testing.T) {
	n := newNode(t)
	if i := n.imageStatus(otherImage); i.GetUsername() != imageUser || i.GetUid() != nil {
		n.Errorf("user %q, id %v", i.GetUsername(), i.GetUid())
	}
	if i := n.imageStatus(busybox); i.GetUsername() != "" || i.GetUid() == nil || i.GetUid().GetValue() != 0 {
		n.Errorf("user %q, id %v", i.GetUsername(), i.GetUid())
	}
}

// TestImageFsInfo: the kubelet measures the file system of the path it is given.
func TestImageFsInfo(t *testing.T) {
	n := newNode(t)
	r, err := n.images.ImageFsInfo(n.Context(), &cri.ImageFsInfoRequest{})
	n.must("ImageFsInfo", err)
	for what, list := range map[string][]*cri.FilesystemUsage{"image": r.GetImageFilesystems(), "container": r.GetContainerFilesystems()} {
		if len(list) != 1 {
			n.Fatalf("%s file systems: %v", what, list)
		}
		path := list[0].GetFsId().GetMountpoint()
		if info, err := os.Stat(path); err != nil || !info.IsDir() || !strings.HasPrefix(path, os.Getenv("RIG_DIR")) {
			n.Errorf("%s file system at %s: %v", what, path, err)
		}
		if list[0].GetTimestamp() == 0 {
			n.Errorf("%s file system without a time", what)
		}
	}
	if r.GetImageFilesystems()[0].GetUsedBytes().GetValue() == 0 {
		n.Error("images use nothing")
	}
}

// TestStreamImages: the same as the list.
func TestStreamImages(t *testing.T) {
	n := newNode(t)
	stream, err := n.images.StreamImages(n.Context(), &cri.StreamImagesRequest{})
	n.must("StreamImages", err)
	var ids []string
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		n.must("StreamImages", err)
		ids = append(ids, idsOf(part.GetImages())...)
	}
	n.wantIDs(idsOf(n.listImages(nil)), ids)
}
