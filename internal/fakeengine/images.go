// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image that a test puts into the engine or into the registry.
type Image struct {
	// ID is "sha256:" and 64 digits. Empty stands for a new one.
	ID string
	// Tags and Digests, such as "busybox:1" and "busybox@sha256:...", refer to
	// the image. In a Remote they are ignored.
	Tags, Digests []string
	// Size of the unpacked layers, in bytes.
	Size int64
	// Config is what a container inherits.
	Config ocispec.ImageConfig
	// Files are the contents of regular files, by absolute path.
	Files map[string]string
}

// storedImage is an image that the engine has.
type storedImage struct {
	id     string
	refs   []reference.Named // tagged, or with a digest
	size   int64
	config ocispec.ImageConfig
	layers []string
	files  map[string]string
}

// AddImage puts an image into the engine as if it had always been there: no
// event tells of it. It returns the id.
func (e *Engine) AddImage(i Image) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	stored := store(i)
	for _, text := range slices.Concat(i.Tags, i.Digests) {
		e.giveRef(stored, mustParse(text))
	}
	e.images = append(e.images, stored)
	return stored.id
}

// Tag makes ref refer to the image that target is, as "docker tag" does.
func (e *Engine) Tag(target, ref string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, err := e.findImage(target)
	if err != nil {
		panic("fakeengine: " + err.Error())
	}
	e.giveRef(i, mustParse(ref))
	e.imageEvent(i.config.Labels, "tag", i.id, ref)
}

func store(i Image) *storedImage {
	if i.ID == "" {
		i.ID = "sha256:" + randomID()
	}
	return &storedImage{id: i.ID, size: i.Size, config: wire(i.Config), layers: []string{digestOf("layer of " + i.ID)}, files: i.Files}
}

// mustParse reads a reference of the test's.
func mustParse(text string) reference.Named {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		panic("fakeengine: " + text + ": " + err.Error())
	}
	return reference.TagNameOnly(named)
}

// storeName is what the engine keeps of a reference: the digest, where there is
// one, and else the tag, which is "latest" unless given.
func storeName(named reference.Named) reference.Named {
	if digested, ok := named.(reference.Digested); ok {
		return mustParse(named.Name() + "@" + digested.Digest().String())
	}
	return reference.TagNameOnly(named)
}

// digestOf is the digest of a text, such as "sha256:2c26...".
func digestOf(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// giveRef makes ref refer to the image, and to no other any more.
func (e *Engine) giveRef(to *storedImage, ref reference.Named) {
	for _, i := range e.images {
		i.dropRef(ref)
	}
	to.dropRef(ref)
	to.refs = append(to.refs, ref)
}

func (i *storedImage) dropRef(ref reference.Named) {
	i.refs = slices.DeleteFunc(i.refs, func(r reference.Named) bool { return r.String() == ref.String() })
}

// familiar are the references of one sort in their short form.
func (i *storedImage) familiar(digests bool) []string {
	list := []string{}
	for _, ref := range i.refs {
		if isDigest(ref) == digests {
			list = append(list, reference.FamiliarString(ref))
		}
	}
	slices.Sort(list)
	return list
}

func isDigest(ref reference.Named) bool {
	_, ok := ref.(reference.Digested)
	return ok
}

// hasID is true for the id, with and without "sha256:", and for its beginnings.
func (i *storedImage) hasID(text string) bool {
	digits := strings.TrimPrefix(text, "sha256:")
	return digits != "" && strings.HasPrefix(i.id, "sha256:"+digits)
}

// findImage looks an image up by reference or id.
func (e *Engine) findImage(text string) (*storedImage, error) {
	if text == "" {
		return nil, notFound("No such image: ")
	}
	parsed, err := reference.ParseAnyReference(text)
	if err != nil {
		return nil, invalid("%v", err)
	}
	named, isNamed := parsed.(reference.Named)
	for _, i := range e.images {
		if isNamed && slices.ContainsFunc(i.refs, func(r reference.Named) bool { return r.String() == storeName(named).String() }) {
			return i, nil
		}
	}
	for _, i := range e.images {
		if i.hasID(text) {
			return i, nil
		}
	}
	if isNamed {
		text = reference.FamiliarString(reference.TagNameOnly(named))
	}
	return nil, notFound("No such image: %s", text)
}

// ImageInspect does not look at its options.
func (e *Engine) ImageInspect(ctx context.Context, ref string, _ ...client.ImageInspectOption) (image.InspectResponse, error) {
	return call(ctx, e, Call{"ImageInspect", ref, nil}, func() (image.InspectResponse, error) {
		i, err := e.findImage(ref)
		if err != nil {
			return image.InspectResponse{}, err
		}
		answer := image.InspectResponse{
			ID:           i.id,
			RepoTags:     i.familiar(false),
			RepoDigests:  i.familiar(true),
			Architecture: runtime.GOARCH,
			Os:           "linux",
			Size:         i.size,
			RootFS:       image.RootFS{Type: "layers", Layers: i.layers},
		}
		carry(i.config, &answer.Config)
		return wire(answer), nil
	})
}

// ImageList honours the filters reference, label and dangling, and refuses
// others.
func (e *Engine) ImageList(ctx context.Context, options image.ListOptions) ([]image.Summary, error) {
	return call(ctx, e, Call{"ImageList", "", options}, func() ([]image.Summary, error) {
		if err := onlyFilters(options.Filters, "reference", "label", "dangling"); err != nil {
			return nil, err
		}
		list := []image.Summary{}
		for _, i := range e.images {
			ok, err := i.listed(options.Filters)
			if err != nil {
				return nil, err
			}
			if ok {
				list = append(list, wire(e.imageSummary(i)))
			}
		}
		return list, nil
	})
}

func (i *storedImage) listed(wanted filters.Args) (bool, error) {
	dangling, err := wanted.GetBoolOrDefault("dangling", len(i.refs) == 0)
	if err != nil {
		return false, apiError{errdefs.ErrInvalidArgument, err.Error()}
	}
	matched := !wanted.Contains("reference")
	for _, pattern := range wanted.Get("reference") {
		for _, ref := range i.refs {
			ok, err := reference.FamiliarMatch(pattern, ref)
			if err != nil {
				return false, apiError{errdefs.ErrInvalidArgument, err.Error()}
			}
			matched = matched || ok
		}
	}
	return matched && dangling == (len(i.refs) == 0) && wanted.MatchKVList("label", i.config.Labels), nil
}

// imageSummary shows an image without references the way its API version does.
func (e *Engine) imageSummary(i *storedImage) image.Summary {
	s := image.Summary{
		ID: i.id, RepoTags: i.familiar(false), RepoDigests: i.familiar(true),
		Size: i.size, Labels: i.config.Labels, Containers: -1, SharedSize: -1,
	}
	if len(i.refs) == 0 && versions.LessThan(e.negotiated, "1.43") {
		s.RepoTags, s.RepoDigests = []string{"<none>:<none>"}, []string{"<none>@<none>"}
	}
	return s
}
