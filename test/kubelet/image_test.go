// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// publishNew puts a small image into the registry that the runtime does not have,
// and returns the digest.
func (k *kubelet) publishNew(name, content string) (digest string) {
	k.Helper()
	k.needOwnImages()
	layer, err := tarOf(file("content", content))
	k.must("make a layer", err)
	digest, err = suite.registry.publish(name, v1.Config{Env: []string{"PATH=/bin"}}, layer)
	k.must("publish", err)
	return digest
}

// pull pulls an image, which is removed when the test ends.
func (k *kubelet) pull(ref string) (id string) {
	k.Helper()
	r, err := k.images.PullImage(k.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref, UserSpecifiedImage: ref}})
	k.must("PullImage "+ref, err)
	k.Cleanup(func() { k.must("RemoveImage", k.removeImage(context.Background(), r.GetImageRef())) })
	return r.GetImageRef()
}

// image is nil for one that the runtime does not have.
func (k *kubelet) image(ref string) *cri.Image {
	k.Helper()
	r, err := k.images.ImageStatus(k.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: ref}})
	k.must("ImageStatus "+ref, err)
	return r.GetImage()
}

func (k *kubelet) listImages() []*cri.Image {
	k.Helper()
	r, err := k.images.ListImages(k.Context(), &cri.ListImagesRequest{})
	k.must("ListImages", err)
	return r.GetImages()
}

// TestPullByDigest follows one image through all that tells of it.
func TestPullByDigest(t *testing.T) {
	k := newKubelet(t)
	digest := k.publishNew("kubelet/by-digest:1", "of a digest")
	ref := suite.registry.ref("kubelet/by-digest") + "@" + digest
	id := k.pull(ref)
	for _, name := range []string{ref, id} {
		i := k.image(name)
		if i == nil {
			k.Fatalf("ImageStatus %s: no such image", name)
		}
		if i.GetId() != id || i.GetSize() == 0 || !slices.Contains(i.GetRepoDigests(), ref) || len(i.GetRepoTags()) > 0 {
			k.Errorf("ImageStatus %s: %v; want id %s, digest %s and no tag", name, i, id, ref)
		}
	}
	if again := k.pull(ref); again != id {
		k.Errorf("pulled again it is %s, and was %s", again, id)
	}
	count := 0
	for _, i := range k.listImages() {
		if i.GetId() == id {
			count++
		}
	}
	if count != 1 {
		k.Errorf("it is %d times in the list", count)
	}
	// The kubelet creates containers by what the pull said.
	c := k.pod().create("", func(c *cri.ContainerConfig) {
		c.Image = &cri.ImageSpec{Image: id, UserSpecifiedImage: ref}
		c.Command, c.Args = []string{"/content"}, nil
	})
	status := c.status()
	if status.GetImageId() != id || status.GetImageRef() == "" {
		k.Errorf("the container's image is %q, reference %q; want %s", status.GetImageId(), status.GetImageRef(), id)
	}
	if got := status.GetImage().GetUserSpecifiedImage(); got != "" && got != ref {
		k.Errorf("the status says that the user asked for %s", got)
	}
	list := k.listContainers(&cri.ContainerFilter{Id: c.id})
	if len(list) != 1 || list[0].GetImageId() != id {
		k.Errorf("the list says %v", list)
	}
}

// TestPullByTagAndDigest: the digest decides, wherever the tag has moved.
func TestPullByTagAndDigest(t *testing.T) {
	k := newKubelet(t)
	old := k.publishNew("kubelet/moved:1", "of before")
	k.publishNew("kubelet/moved:1", "of now")
	ref := suite.registry.ref("kubelet/moved")
	first := k.pull(ref + ":1@" + old)
	if i := k.image(ref + "@" + old); i.GetId() != first {
		k.Errorf("by its digest it is %v, want %s", i, first)
	}
	second := k.pull(ref + ":1")
	if second == first {
		k.Error("the tag still leads to the image of before")
	}
	if i := k.image(ref + ":1"); i.GetId() != second {
		k.Errorf("by its tag it is %v, want %s", i, second)
	}
}

// TestPullMovedTag: the image of before stays until it is removed.
func TestPullMovedTag(t *testing.T) {
	k := newKubelet(t)
	const name = "kubelet/moving:1"
	k.publishNew(name, "of before")
	first := k.pull(suite.registry.ref(name))
	k.publishNew(name, "of now")
	second := k.pull(suite.registry.ref(name))
	if first == second {
		k.Fatal("the pull did not follow the tag")
	}
	if i := k.image(suite.registry.ref(name)); i.GetId() != second {
		k.Errorf("the tag is on %v, want %s", i, second)
	}
	if i := k.image(first); i != nil && len(i.GetRepoTags()) > 0 {
		k.Errorf("the image of before has tags: %v", i)
	}
}

// TestPullRefused: the kubelet tells "not there" from "not allowed".
func TestPullRefused(t *testing.T) {
	k := newKubelet(t)
	digest := k.publishNew("kubelet/there:1", "of another tag")
	absent := "@sha256:" + strings.Repeat("0", 64)
	before := len(k.listImages())
	for name, test := range map[string]struct {
		ref   string
		right []codes.Code
	}{
		"another tag":        {suite.registry.ref("kubelet/there:2"), []codes.Code{codes.NotFound}},
		"another digest":     {suite.registry.ref("kubelet/there") + absent, []codes.Code{codes.NotFound}},
		"another repository": {suite.registry.ref("kubelet/nowhere") + "@" + digest, []codes.Code{codes.NotFound}},
		"no digest":          {suite.registry.ref("kubelet/there") + "@sha256:abc", []codes.Code{codes.InvalidArgument}},
		"no reference":       {"Upper Case", []codes.Code{codes.InvalidArgument}},
		"empty":              {"", []codes.Code{codes.InvalidArgument}},
	} {
		k.sub(name, func(k *kubelet) {
			_, err := k.images.PullImage(k.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: test.ref}})
			k.wantCode("PullImage", err, test.right...)
		})
	}
	if now := len(k.listImages()); now != before {
		k.Errorf("%d images, there were %d", now, before)
	}
}

// TestRemoveByDigest: what was pulled by a digest goes by it.
func TestRemoveByDigest(t *testing.T) {
	k := newKubelet(t)
	digest := k.publishNew("kubelet/removed:1", "to be removed")
	ref := suite.registry.ref("kubelet/removed") + "@" + digest
	id := k.pull(ref)
	k.must("RemoveImage", k.removeImage(k.Context(), ref))
	if i := k.image(id); i != nil {
		k.Errorf("it is still there: %v", i)
	}
}
