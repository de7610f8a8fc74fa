// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
)

// tag is one of the clause's own.
func (b *bench) tag(suffix string) string { return "enginetest/" + b.token + ":" + suffix }

// loadSmall loads a new image under tags.
func (b *bench) loadSmall(tags ...string) testImage {
	b.Helper()
	i := smallImage(b)
	b.must("load", b.load(i.archive(b, tags...)))
	b.Cleanup(func() {
		for _, tag := range append(tags, i.id()) {
			// Most clauses have removed it.
			_, _ = b.ImageRemove(context.WithoutCancel(b.Context()), tag, image.RemoveOptions{Force: true})
		}
	})
	return i
}

func (b *bench) inspectImage(ref string) image.InspectResponse {
	b.Helper()
	i, err := b.ImageInspect(b.Context(), ref)
	b.must("inspect image", err)
	return i
}

// A loaded image has the digest of its configuration for an id, the archive's
// tags, and no repository digest. To load it again changes nothing.
func imageLoad(b *bench) {
	loaded := b.loadSmall(b.tag("1"), b.tag("2"))
	b.must("load again", b.load(loaded.archive(b, b.tag("1"), b.tag("2"))))

	id := loaded.id()
	for _, by := range []string{id, strings.TrimPrefix(id, "sha256:"), id[:len("sha256:")+12], b.tag("1"), "docker.io/" + b.tag("2")} {
		b.equal("found by "+by, b.inspectImage(by).ID, id)
	}
	i := b.inspectImage(id)
	b.equal("tags", i.RepoTags, []string{b.tag("1"), b.tag("2")})
	b.equal("digests", len(i.RepoDigests), 0)
	if i.Size <= 0 || i.Os != "linux" || len(i.RootFS.Layers) != 1 {
		b.Errorf("size %d, system %q, layers %v", i.Size, i.Os, i.RootFS.Layers)
	}

	busybox := b.inspectImage(b.image)
	b.equal("variables", busybox.Config.Env, []string{"PATH=/bin", "FROM_IMAGE=yes"})
	b.equal("user", busybox.Config.User, "")
	b.equal("labels", busybox.Config.Labels, map[string]string{"enginetest.image": "yes"})

	listed := b.listed(id)
	b.equal("listed tags", listed.RepoTags, i.RepoTags)
	b.equal("listed digests", len(listed.RepoDigests), 0)
	b.equal("listed size", listed.Size, i.Size)
	byTag, err := b.ImageList(b.Context(), image.ListOptions{Filters: args([]string{"reference", b.tag("1")})})
	b.must("list by reference", err)
	if len(byTag) != 1 || byTag[0].ID != id {
		b.Errorf("listed by reference: %v", byTag)
	}
}

// listed is the image's line in the list.
func (b *bench) listed(id string) image.Summary {
	b.Helper()
	list, err := b.ImageList(b.Context(), image.ListOptions{})
	b.must("list images", err)
	at := slices.IndexFunc(list, func(i image.Summary) bool { return i.ID == id })
	if at < 0 {
		b.Fatalf("image %s is not listed", id)
	}
	return list[at]
}

// An archive that cannot be loaded is told in the stream.
func imageLoadBroken(b *bench) {
	for what, archive := range map[string]io.Reader{
		"no archive":      strings.NewReader("this is no archive"),
		"empty":           strings.NewReader(""),
		"no manifest":     strings.NewReader(string(tarOf(b, file{"x", []byte("x")}))),
		"wrong content":   b.tampered(),
		"half an archive": io.LimitReader(smallImage(b).archive(b), 700),
	} {
		b.wantKind("load of "+what, b.load(archive), inStream)
	}
}

// tampered is an archive whose layer is not the one that the image names.
func (b *bench) tampered() io.Reader {
	i := smallImage(b)
	i.layer = smallImage(b).layer
	return i.archive(b)
}

// A tag that comes with an archive is taken from the image that had it. That one
// stays, nameless: "<none>:<none>" up to API 1.42.
func imageLoadMovesTag(b *bench) {
	old := b.loadSmall(b.tag("1"))
	b.loadSmall(b.tag("1"))
	b.equal("tags in inspect", len(b.inspectImage(old.id()).RepoTags), 0)
	listed := b.listed(old.id())
	if len(listed.RepoTags) != 0 && !slices.Equal(listed.RepoTags, []string{"<none>:<none>"}) {
		b.Errorf("tags in list: %v", listed.RepoTags)
	}
	if len(listed.RepoDigests) != 0 && !slices.Equal(listed.RepoDigests, []string{"<none>@<none>"}) {
		b.Errorf("digests in list: %v", listed.RepoDigests)
	}
}

// An image that is not there is not found; what can be no reference is invalid.
func imageMissing(b *bench) {
	for ref, kind := range map[string]string{
		"enginetest/no-such-image:1":                           notFound,
		"sha256:" + strings.Repeat("0", 64):                    notFound,
		strings.Repeat("0", 64):                                notFound,
		"enginetest/busybox@sha256:" + strings.Repeat("0", 64): notFound,
		"UPPER": invalid,
	} {
		_, err := b.ImageInspect(b.Context(), ref)
		b.wantKind("inspect "+ref, err, kind)
		_, err = b.ImageRemove(b.Context(), ref, image.RemoveOptions{})
		b.wantKind("remove "+ref, err, kind)
	}
	_, err := b.ImageInspect(b.Context(), "")
	b.wantKind("inspect without a name", err, notFound)
}

// The image goes with its last tag.
func imageRemoveTags(b *bench) {
	i := b.loadSmall(b.tag("1"), b.tag("2"))
	removed, err := b.ImageRemove(b.Context(), b.tag("1"), image.RemoveOptions{PruneChildren: true})
	b.must("remove a tag", err)
	b.equal("answer", removed, []image.DeleteResponse{{Untagged: b.tag("1")}})
	b.equal("tags", b.inspectImage(i.id()).RepoTags, []string{b.tag("2")})

	removed, err = b.ImageRemove(b.Context(), b.tag("2"), image.RemoveOptions{PruneChildren: true})
	b.must("remove the last tag", err)
	b.equal("first of the answer", removed[0], image.DeleteResponse{Untagged: b.tag("2")})
	b.equal("second of the answer", removed[1], image.DeleteResponse{Deleted: i.id()})
	_, err = b.ImageInspect(b.Context(), i.id())
	b.wantKind("inspect", err, notFound)
}

// By id an image goes with its one tag, and with several tags by force only.
func imageRemoveByID(b *bench) {
	one, two, bare := b.loadSmall(b.tag("1")), b.loadSmall(b.tag("2"), b.tag("3")), b.loadSmall()
	remove := func(i testImage, force bool) error {
		_, err := b.ImageRemove(b.Context(), i.id(), image.RemoveOptions{Force: force, PruneChildren: true})
		return err
	}
	b.wantKind("one tag", remove(one, false), none)
	b.wantKind("two tags", remove(two, false), conflict)
	b.equal("tags", b.inspectImage(two.id()).RepoTags, []string{b.tag("2"), b.tag("3")})
	b.wantKind("two tags with force", remove(two, true), none)
	b.wantKind("no tag", remove(bare, false), none)
	for _, i := range []testImage{one, two, bare} {
		_, err := b.ImageInspect(b.Context(), i.id())
		b.wantKind("inspect", err, notFound)
	}
}

// A container keeps its image from being removed; force helps against a stopped
// one only.
func imageInUse(b *bench) {
	b.must("load", b.load(b.busybox.archive(b, b.tag("1"))))
	for _, tag := range b.inspectImage(b.image).RepoTags {
		if tag != b.tag("1") {
			_, err := b.ImageRemove(b.Context(), tag, image.RemoveOptions{})
			b.must("remove the other tag", err)
		}
	}
	remove := func(ref string, force bool) error {
		_, err := b.ImageRemove(b.Context(), ref, image.RemoveOptions{Force: force})
		return err
	}
	id := b.running(alone(), "user", idle...)
	b.wantKind("by id while running", remove(b.image, false), conflict)
	b.wantKind("by id while running, forced", remove(b.image, true), conflict)
	b.wantKind("by tag while running", remove(b.tag("1"), false), conflict)
	b.stop(id)
	b.wantKind("by id while stopped", remove(b.image, false), conflict)
	b.wantKind("by tag while stopped", remove(b.tag("1"), false), conflict)
	b.wantKind("by id while stopped, forced", remove(b.image, true), none)
	b.equal("image of the container", b.inspect(id).Image, b.image)
	b.equal("image in the list", b.list(container.ListOptions{All: true}, "id", id)[0].ImageID, b.image)
}
