// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
)

// published is a new image in the registry.
func (b *bench) published(r Remote) (i testImage, ref, byDigest string) {
	b.Helper()
	r.image = smallImage(b)
	ref, digest := b.Publish(b.T, r)
	repository := ref[:strings.LastIndex(ref, ":")]
	b.Cleanup(func() {
		_, _ = b.ImageRemove(context.WithoutCancel(b.Context()), r.image.id(), image.RemoveOptions{Force: true})
	})
	return r.image, ref, repository + "@" + digest
}

// A pull by tag gives the image its tag and the digest of its repository. To pull
// again is no error.
func pullTag(b *bench) {
	i, ref, byDigest := b.published(Remote{})
	for _, what := range []string{"pull", "pull again"} {
		statuses, err := b.pull(ref, image.PullOptions{})
		b.must(what, err)
		if !slices.ContainsFunc(statuses, func(s string) bool { return strings.HasPrefix(s, "Digest: sha256:") }) {
			b.Errorf("%s: no digest in %q", what, statuses)
		}
	}
	for _, by := range []string{ref, byDigest, i.id()} {
		got := b.inspectImage(by)
		b.equal("id", got.ID, i.id())
		b.equal("tags", got.RepoTags, []string{ref})
		b.equal("digests", got.RepoDigests, []string{byDigest})
	}
	removed, err := b.ImageRemove(b.Context(), ref, image.RemoveOptions{})
	b.must("remove", err)
	b.equal("first three removed", removed[:3], []image.DeleteResponse{{Untagged: ref}, {Untagged: byDigest}, {Deleted: i.id()}})
}

// A pull by digest gives the image no tag, not even the one that is named
// beside the digest.
func pullDigest(b *bench) {
	i, ref, byDigest := b.published(Remote{})
	_, digest, _ := strings.Cut(byDigest, "@")
	for _, by := range []string{byDigest, ref + "@" + digest} {
		_, err := b.pull(by, image.PullOptions{})
		b.must("pull "+by, err)
		got := b.inspectImage(byDigest)
		b.equal("id", got.ID, i.id())
		b.equal("tags", len(got.RepoTags), 0)
		b.equal("digests", got.RepoDigests, []string{byDigest})
		_, err = b.ImageRemove(b.Context(), i.id(), image.RemoveOptions{})
		b.must("remove", err)
	}
}

// A tag, repository or digest that the registry does not have is not found; a
// name that can be none is refused by the client.
func pullMissing(b *bench) {
	_, ref, byDigest := b.published(Remote{})
	repository, _, _ := strings.Cut(byDigest, "@")
	for _, missing := range []string{ref + "-missing", repository + "-missing:1", repository + "@sha256:" + strings.Repeat("0", 64)} {
		_, err := b.pull(missing, image.PullOptions{})
		b.wantKind("pull "+missing, err, notFound)
	}
	_, err := b.pull("UPPER", image.PullOptions{})
	b.wantKind("pull UPPER", err, other)
}

// Credentials are checked before the stream begins. Missing ones are an internal
// error; wrong ones are too, before 28.
func pullCredentials(b *bench) {
	i, ref, _ := b.published(Remote{Password: "s3cret"})
	pull := func(auth string) error {
		_, err := b.pull(ref, image.PullOptions{RegistryAuth: auth})
		return err
	}
	b.wantKind("none", pull(""), internal)
	b.wantKind("wrong", pull(b.credentials("wrong")), internal, unauthorized)
	b.wantKind("right", pull(b.credentials("s3cret")), none)
	b.equal("id", b.inspectImage(ref).ID, i.id())
}

func (b *bench) credentials(password string) string {
	b.Helper()
	header, err := registry.EncodeAuthConfig(registry.AuthConfig{Username: User, Password: password})
	b.must("encode credentials", err)
	return header
}

// What goes wrong after the manifest is told in the stream; nothing is left.
func pullBrokenLayer(b *bench) {
	i, ref, _ := b.published(Remote{Broken: true})
	_, err := b.pull(ref, image.PullOptions{})
	b.wantKind("pull", err, inStream)
	for _, by := range []string{ref, i.id()} {
		_, err := b.ImageInspect(b.Context(), by)
		b.wantKind("inspect "+by, err, notFound)
	}
}

// A pull ends with its context, and leaves nothing. The next one succeeds.
func pullCancelled(b *bench) {
	hold := make(chan struct{})
	_, ref, _ := b.published(Remote{Hold: hold})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	body, err := b.ImagePull(ctx, ref, image.PullOptions{})
	b.must("pull", err)
	defer body.Close()
	decoder := json.NewDecoder(body)
	b.must("first message", decoder.Decode(&struct{}{}))
	cancel()
	_, err = io.Copy(io.Discard, body)
	b.wantKind("rest of the stream", err, cancelled)
	_, err = b.ImageInspect(b.Context(), ref)
	b.wantKind("inspect", err, notFound)

	close(hold)
	_, err = b.pull(ref, image.PullOptions{})
	b.must("pull again", err)
}
