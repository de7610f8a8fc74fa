// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/versions"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// runnable are the files of an image that is like no other, and can run.
func (n *node) runnable(content string) [][]byte {
	n.Helper()
	return [][]byte{imageFiles(n), smallFiles(n, content)}
}

// imageIDs: the engine's id of an image is the one that each call gives,
// however the image came.
func (n *node) imageIDs() {
	g, p := n.gallery(), n.pod()
	for name, pulled := range map[string]func(e exhibit) (refs []string){
		"by tag":    func(e exhibit) []string { return []string{g.tag(e, "1")} },
		"by digest": func(e exhibit) []string { return []string{e.byDigest()} },
		"by digest, with a tag in vain": func(e exhibit) []string {
			return []string{e.repository + ":nowhere@" + e.digest()}
		},
		"by tag and digest":       func(e exhibit) []string { return []string{g.tag(e, "1") + "@" + e.digest()} },
		"by tag, then by digest":  func(e exhibit) []string { return []string{g.tag(e, "1"), e.byDigest()} },
		"by two tags":             func(e exhibit) []string { return []string{g.tag(e, "1"), g.tag(e, "2")} },
		"an index":                func(e exhibit) []string { return []string{g.tag(g.index(e), "1")} },
		"an index by digest":      func(e exhibit) []string { i := g.index(e); g.tag(i, "1"); return []string{i.byDigest()} },
		"without tag, so latest":  func(e exhibit) []string { g.tag(e, "latest"); return []string{e.repository} },
		"a tag beside its digest": func(e exhibit) []string { g.tag(e, "1"); return []string{e.byDigest(), e.repository + ":1"} },
	} {
		n.sub(name, func(n *node) {
			e := g.in(n).image(strings.NewReplacer(" ", "-", ",", "").Replace(name), n.runnable(name)...)
			var ids []string
			refs := pulled(e)
			for _, ref := range refs {
				id, err := n.pull(ref, nil)
				n.must("PullImage "+ref, err)
				ids = append(ids, id)
			}
			if ids = slices.Compact(ids); len(ids) != 1 {
				n.Fatalf("pulled as %q, one image has the ids %q", refs, ids)
			}
			n.wantID(ids[0], refs...)
			for _, by := range append(refs, ids[0]) {
				p.in(n).wantContainerOf(by, ids[0])
			}
			n.must("RemoveImage", n.removeImage(refs[len(refs)-1]))
			n.wantNoImage(append(refs, ids[0])...)
		})
	}
}

// wantID looks an image up by its id and by the references, and compares with
// what the engine says.
func (n *node) wantID(id string, refs ...string) {
	n.Helper()
	digits := strings.TrimPrefix(id, "sha256:")
	for _, by := range append(refs, id, digits, digits[:12], "sha256:"+digits[:12]) {
		if inspect, err := n.engine.ImageInspect(n.Context(), by); err != nil || inspect.ID != id {
			n.Errorf("the engine's image %s has the id %s, %v; want %s", by, inspect.ID, err, id)
		}
		i := n.imageStatus(by)
		if i.GetId() != id || i.GetSize() == 0 {
			n.Errorf("ImageStatus of %s: %v; want %s", by, i, id)
		}
		if list := n.listImages(&cri.ImageFilter{Image: &cri.ImageSpec{Image: by}}); len(list) != 1 || list[0].GetId() != id {
			n.Errorf("ListImages of %s: %v; want %s", by, list, id)
		}
	}
	listed := slices.DeleteFunc(n.listImages(nil), func(i *cri.Image) bool { return i.GetId() != id })
	if len(listed) != 1 {
		n.Fatalf("among all there are %d of id %s", len(listed), id)
	}
	for _, ref := range slices.Concat(listed[0].GetRepoTags(), listed[0].GetRepoDigests()) {
		if n.imageStatus(ref).GetId() != id {
			n.Errorf("it is listed as %s, and cannot be found by that", ref)
		}
	}
	if tags := listed[0].GetRepoTags(); slices.ContainsFunc(tags, func(tag string) bool { return strings.Contains(tag, "@") }) {
		n.Errorf("digests among the tags %q", tags)
	}
}

// wantContainerOf creates a container by a reference, and compares what is said
// of its image.
func (p *pod) wantContainerOf(ref, id string) {
	p.Helper()
	c := p.create(p.containerConfig(idle, func(c *cri.ContainerConfig) { c.Image.Image = ref }))
	if got := c.status().GetImageId(); got != id {
		p.Errorf("ContainerStatus has image_id %s, want %s", got, id)
	}
	if got := p.engine.inspect(p, c.id).Image; got != id {
		p.Errorf("the engine has the container's image as %s, want %s", got, id)
	}
	listed := slices.DeleteFunc(p.listContainers(nil), func(l *cri.Container) bool { return l.GetId() != c.id })
	if len(listed) != 1 || listed[0].GetImageId() != id || listed[0].GetImageRef() != id {
		p.Errorf("ListContainers: %v, want image_id %s", listed, id)
	}
	c.remove()
}

// wantNameless looks an image up that has lost its last tag.
func (n *node) wantNameless(id string) {
	n.Helper()
	_, err := n.engine.ImageInspect(n.Context(), id)
	if errdefs.IsNotFound(err) && onContainerd() && versions.LessThan(n.engine.ClientVersion(), "1.48") {
		n.Logf("before API 1.48 the containerd image store forgets an image with its last tag, whoever uses it: %v", err)
		return
	}
	n.wantID(id)
	i := n.imageStatus(id)
	if len(i.GetRepoTags()) != 0 {
		n.Errorf("the old image has the tags %q", i.GetRepoTags())
	}
	n.Logf("without a tag the image has the digests %q", i.GetRepoDigests())
}

func (n *node) wantNoImage(refs ...string) {
	n.Helper()
	for _, ref := range refs {
		if i := n.imageStatus(ref); i != nil {
			n.Errorf("%s is still there: %v", ref, i)
		}
		if _, err := n.engine.ImageInspect(n.Context(), ref); !errdefs.IsNotFound(err) {
			n.Errorf("the engine still has %s: %v", ref, err)
		}
	}
}

// removal: whatever the image is called, it goes with all its tags, those that
// somebody else gave it a moment ago among them.
func (n *node) removal() {
	g := n.gallery()
	for number, by := range []func(e exhibit, id string) string{
		func(e exhibit, _ string) string { return e.repository + ":1" },
		func(e exhibit, _ string) string { return e.repository + ":2" },
		func(e exhibit, _ string) string { return e.byDigest() },
		func(e exhibit, _ string) string { return e.repository + ":1@" + e.digest() },
		func(_ exhibit, id string) string { return id },
		func(_ exhibit, id string) string { return strings.TrimPrefix(id, "sha256:") },
		func(_ exhibit, id string) string { return strings.TrimPrefix(id, "sha256:")[:12] },
		func(_ exhibit, id string) string { return id[:len("sha256:")+12] },
		func(exhibit, string) string { return "integration-hub:latest" },
		func(exhibit, string) string { return "integration-hub" },
		func(exhibit, string) string { return "docker.io/library/integration-hub:latest" },
		func(exhibit, string) string { return "docker.io/integration-hub" },
		func(exhibit, string) string { return "index.docker.io/library/integration-hub" },
	} {
		e := g.image(fmt.Sprint("removed", number), smallFiles(n, fmt.Sprint("removed", number)))
		id, err := n.pull(g.tag(e, "1"), nil)
		n.must("PullImage", err)
		for _, tag := range []string{e.repository + ":2", "localhost/integration-elsewhere:3", "integration-hub:latest"} {
			n.must("tag", n.engine.ImageTag(n.Context(), id, tag))
		}
		ref := by(e, id)
		n.must("RemoveImage "+ref, n.removeImage(ref))
		n.wantNoImage(id, e.repository+":1", e.repository+":2", e.byDigest(), "localhost/integration-elsewhere:3", "integration-hub")
		n.must("RemoveImage again", n.removeImage(ref))
	}
}

// tagsMoved: what docker rmi and docker tag do to tags shows, and the image keeps
// its id.
func (n *node) tagsMoved() {
	g, p := n.gallery(), n.pod()
	e := g.image("moved", n.runnable("moved")...)
	first, second := g.tag(e, "1"), g.tag(e, "2")
	id, err := n.pull(first, nil)
	n.must("PullImage", err)
	_, err = n.pull(second, nil)
	n.must("PullImage", err)
	_, err = n.engine.ImageRemove(n.Context(), first, image.RemoveOptions{})
	n.must("docker rmi", err)
	eventually(n, "the tag is gone", func() bool { return n.imageStatus(first) == nil })
	n.wantID(id, second, e.byDigest())
	p.wantContainerOf(second, id)
	n.must("RemoveImage of the tag that is gone", n.removeImage(first))
	n.wantID(id, second)

	// A tag that somebody moves to another image a moment before is that one's.
	other, err := n.pull(g.tag(g.image("other", smallFiles(n, "other")), "1"), nil)
	n.must("PullImage", err)
	n.must("docker tag", n.engine.ImageTag(n.Context(), other, second))
	n.must("RemoveImage", n.removeImage(second))
	n.wantNoImage(other)
	n.wantID(id)
	n.must("RemoveImage", n.removeImage(id))
}

// tagRenewed: the image that a tag was taken from stays under its id, for the
// containers that it has.
func (n *node) tagRenewed() {
	g, p := n.gallery(), n.pod()
	tag := g.tag(g.image("renewed", n.runnable("old")...), "1")
	old, err := n.pull(tag, nil)
	n.must("PullImage", err)
	c := p.create(p.containerConfig(idle, func(c *cri.ContainerConfig) { c.Image.Image = tag }))
	g.tag(g.image("renewed", n.runnable("new")...), "1")
	renewed, err := n.pull(tag, nil)
	n.must("PullImage", err)
	if renewed == old {
		n.Fatal("the new image has the old one's id")
	}
	n.wantID(renewed, tag)
	n.wantNameless(old)
	if got := c.status().GetImageId(); got != old {
		n.Errorf("the old container has image_id %s, want %s", got, old)
	}
	p.wantContainerOf(tag, renewed)
	c.remove()
	n.must("RemoveImage of the old one", n.removeImage(old))
	n.wantNoImage(old)
	n.wantID(renewed, tag)
	n.must("RemoveImage", n.removeImage(tag))
	n.wantNoImage(renewed)
}
