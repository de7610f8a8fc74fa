// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"slices"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/image"
)

// ImageRemove takes the reference away, and the image with its last one. By id
// it removes the image with all its references, which needs Force if they are
// of more than one repository or tag.
func (e *Engine) ImageRemove(ctx context.Context, ref string, options image.RemoveOptions) ([]image.DeleteResponse, error) {
	return call(ctx, e, Call{"ImageRemove", ref, options}, func() ([]image.DeleteResponse, error) {
		i, err := e.findImage(ref)
		if err != nil {
			return nil, err
		}
		if i.hasID(ref) {
			return e.removeByID(i, options.Force)
		}
		return e.removeByName(i, mustParse(ref), options.Force)
	})
}

func (e *Engine) removeByID(i *storedImage, force bool) ([]image.DeleteResponse, error) {
	if err := e.checkUnused(i, force); err != nil {
		return nil, err
	}
	if len(i.refs) > 0 && !i.singleName() && !force {
		return nil, conflict("conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", i.id)
	}
	var removed []image.DeleteResponse
	for _, ref := range slices.Clone(i.refs) {
		removed = append(removed, e.untag(i, ref))
	}
	return append(removed, e.forgetImage(i)...), nil
}

func (e *Engine) removeByName(i *storedImage, ref reference.Named, force bool) ([]image.DeleteResponse, error) {
	if !force && i.singleName() && e.checkUnused(i, false) != nil {
		return nil, conflict("conflict: unable to remove repository reference %q (must force) - a container is using its referenced image %s", ref, i.id)
	}
	removed := []image.DeleteResponse{e.untag(i, ref)}
	removed = append(removed, i.dropDigestsOf(ref)...)
	if len(i.refs) > 0 || e.checkUnused(i, force) != nil {
		return removed, nil
	}
	return append(removed, e.forgetImage(i)...), nil
}

// checkUnused is the conflict of an image whose containers keep it from being
// removed: the running ones, and the stopped ones too unless forced.
func (e *Engine) checkUnused(i *storedImage, force bool) error {
	for _, c := range e.containers {
		if c.Image == i.id && (c.State.Running || !force) {
			return conflict("conflict: unable to delete %s - image is being used by container %s, which is %s", i.id, c.ID, c.State.Status)
		}
	}
	return nil
}

// singleName is true for references of one repository with one tag at most.
func (i *storedImage) singleName() bool {
	tags, repositories := 0, map[string]bool{}
	for _, ref := range i.refs {
		repositories[ref.Name()] = true
		if !isDigest(ref) {
			tags++
		}
	}
	return tags <= 1 && len(repositories) == 1
}

func (e *Engine) untag(i *storedImage, ref reference.Named) image.DeleteResponse {
	i.dropRef(ref)
	e.imageEvent(i.config.Labels, events.ActionUnTag, i.id, i.id)
	return image.DeleteResponse{Untagged: reference.FamiliarString(ref)}
}

// dropDigestsOf drops what the last tag of a repository leaves: its digests. No
// event tells of them.
func (i *storedImage) dropDigestsOf(gone reference.Named) []image.DeleteResponse {
	same := func(ref reference.Named, digest bool) bool {
		return ref.Name() == gone.Name() && isDigest(ref) == digest
	}
	if isDigest(gone) || slices.ContainsFunc(i.refs, func(r reference.Named) bool { return same(r, false) }) {
		return nil
	}
	var removed []image.DeleteResponse
	for _, ref := range slices.Clone(i.refs) {
		if same(ref, true) {
			i.dropRef(ref)
			removed = append(removed, image.DeleteResponse{Untagged: reference.FamiliarString(ref)})
		}
	}
	return removed
}

func (e *Engine) forgetImage(i *storedImage) []image.DeleteResponse {
	e.images = slices.DeleteFunc(e.images, func(other *storedImage) bool { return other == i })
	e.imageEvent(i.config.Labels, events.ActionDelete, i.id, i.id)
	removed := []image.DeleteResponse{{Deleted: i.id}}
	for _, layer := range i.layers {
		removed = append(removed, image.DeleteResponse{Deleted: layer})
	}
	return removed
}
