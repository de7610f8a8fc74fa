// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/adapter/pauseimage"
	"github.com/dockershimd/dockershimd/translate"
)

// images is a copy of the engine's list of images. Like the index it is never
// the truth, and its messages are replaced, never changed.
type images struct {
	engine ImageEngine

	mu     sync.RWMutex
	at     time.Time             // when the listing was asked for
	byID   map[string]*cri.Image // by full id
	byName map[string]string     // full id by tag or digest, as the engine writes it
	users  map[string]*cri.Image // images whose user has been asked for; only that counts
	files  map[string]userFiles  // of images that have been looked into
}

func newImages(engine ImageEngine) *images {
	return &images{engine: engine, byID: map[string]*cri.Image{}, byName: map[string]string{}, users: map[string]*cri.Image{}, files: map[string]userFiles{}}
}

// asked is when the listing kept here was asked for.
func (x *images) asked() time.Time {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.at
}

// refresh lists the engine's images anew.
func (x *images) refresh(ctx context.Context) error {
	at := time.Now()
	list, err := x.engine.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	byID, byName := make(map[string]*cri.Image, len(list)), make(map[string]string, len(list))
	for _, summary := range list {
		i := translate.ListedImage(summary)
		byID[i.Id] = i
		for _, name := range slices.Concat(i.RepoTags, i.RepoDigests) {
			byName[name] = i.Id
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.at.After(at) {
		return nil // a later listing came first
	}
	x.at, x.byID, x.byName = at, byID, byName
	for id := range x.users {
		if byID[id] == nil {
			delete(x.users, id)
		}
	}
	for id := range x.files {
		if byID[id] == nil {
			delete(x.files, id)
		}
	}
	return nil
}

// imageID is a full id, or a beginning of one that cannot be taken for a name
// in earnest.
var imageID = regexp.MustCompile(`^(sha256:)?[0-9a-f]{6,64}$`)

// find resolves a reference: a tag, a digest, an id or the beginning of one. It
// is nil when no image matches, or several do.
func (x *images) find(ref string) *cri.Image {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if i := x.byID[ref]; i != nil {
		return i
	}
	if i := x.byID["sha256:"+ref]; i != nil {
		return i
	}
	if id, ok := x.byName[translate.ImageName(ref)]; ok {
		return x.byID[id]
	}
	if !imageID.MatchString(ref) {
		return nil
	}
	var found *cri.Image
	for id, i := range x.byID {
		if strings.HasPrefix(id, ref) || strings.HasPrefix(id, "sha256:"+ref) {
			if found != nil {
				return nil
			}
			found = i
		}
	}
	return found
}

// digests are the repository digests of an image.
func (x *images) digests(id string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if i := x.byID[id]; i != nil {
		return i.RepoDigests
	}
	return nil
}

// list returns all images, in the order of their ids.
func (x *images) list() []*cri.Image {
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := make([]*cri.Image, 0, len(x.byID))
	for _, i := range x.byID {
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b *cri.Image) int { return strings.Compare(a.Id, b.Id) })
	return out
}

// user is the image with the user it runs as, which only an inspect tells; an
// image's configuration never changes, so each is asked about once.
func (x *images) user(ctx context.Context, id string) (*cri.Image, error) {
	x.mu.RLock()
	known := x.users[id]
	x.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	inspect, err := x.engine.ImageInspect(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("inspect image %s: %w", id, err)
	}
	i := translate.Image(inspect)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.users[id] = i
	return i, nil
}

// userFiles are those of an image that has been looked into.
func (x *images) userFiles(id string) (files userFiles, known bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	files, known = x.files[id]
	return files, known
}

func (x *images) setUserFiles(id string, files userFiles) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files[id] = files
}

// ListImages answers from memory.
func (s *Server) ListImages(_ context.Context, r *cri.ListImagesRequest) (*cri.ListImagesResponse, error) {
	return &cri.ListImagesResponse{Images: s.listedImages(r.GetFilter())}, nil
}

// StreamImages is ListImages in portions.
func (s *Server) StreamImages(r *cri.StreamImagesRequest, stream grpc.ServerStreamingServer[cri.StreamImagesResponse]) error {
	return inPortions(s.listedImages(r.GetFilter()), func(part []*cri.Image) error {
		return stream.Send(&cri.StreamImagesResponse{Images: part})
	})
}

func (s *Server) listedImages(f *cri.ImageFilter) []*cri.Image {
	list := s.images.list()
	if ref := f.GetImage().GetImage(); ref != "" {
		list = nil
		if i := s.images.find(ref); i != nil {
			list = []*cri.Image{i}
		}
	}
	pinned := s.pinned()
	for n, i := range list {
		list[n] = withPin(i, pinned[i.Id])
	}
	return list
}

// pinned are the images that the kubelet's garbage collection must leave alone:
// without a pause image an offline node starts no pod.
func (s *Server) pinned() map[string]bool {
	ids := s.index.sandboxImages()
	for _, ref := range []string{s.config.PauseImage, pauseimage.Reference} {
		if i := s.images.find(ref); i != nil {
			ids[i.Id] = true
		}
	}
	return ids
}

func withPin(i *cri.Image, pin bool) *cri.Image {
	if !pin {
		return i
	}
	i = proto.Clone(i).(*cri.Image)
	i.Pinned = true
	return i
}

// checkImage checks the reference of a request. What nobody could have pulled is
// refused rather than not found, since the kubelet would go on to pull it.
func checkImage(ref string) error {
	if ref == "" {
		return fmt.Errorf("image.image: is required: %w", errdefs.ErrInvalidArgument)
	}
	if err := translate.CheckImage(ref); err != nil {
		return fmt.Errorf("image.image: %w", err)
	}
	return nil
}

// ImageStatus answers from memory, but for the user of an image that nobody
// has asked about before. An image that is not there is no error, as CRI has it.
func (s *Server) ImageStatus(ctx context.Context, r *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	ref := r.GetImage().GetImage()
	if err := checkImage(ref); err != nil {
		return nil, err
	}
	listed := s.images.find(ref)
	if listed == nil {
		return &cri.ImageStatusResponse{}, nil
	}
	i := proto.Clone(listed).(*cri.Image)
	i.Pinned = s.pinned()[i.Id]
	switch user, err := s.images.user(ctx, i.Id); {
	case errdefs.IsNotFound(err):
		return &cri.ImageStatusResponse{}, nil
	case err != nil:
		return nil, err
	default:
		i.Uid, i.Username = user.Uid, user.Username
	}
	out := &cri.ImageStatusResponse{Image: i}
	if !r.GetVerbose() {
		return out, nil
	}
	inspect, err := s.engine.ImageInspect(ctx, i.Id)
	if err != nil {
		return nil, fmt.Errorf("inspect image %s: %w", i.Id, err)
	}
	out.Info, err = infoMap(map[string]any{"info": inspect})
	return out, err
}

// RemoveImage removes the image that the reference means, with all its tags. An
// image that is gone is removed already; one that a container uses is refused.
func (s *Server) RemoveImage(ctx context.Context, r *cri.RemoveImageRequest) (*cri.RemoveImageResponse, error) {
	ref := r.GetImage().GetImage()
	if err := checkImage(ref); err != nil {
		return nil, err
	}
	// One at a time: of an image that is being removed the engine first forgets the
	// names, so that whoever asks by name meanwhile would be told too early.
	if err := s.removing.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.removing.Release(1)
	// Somebody may have moved a tag a moment ago, and what it means is lost.
	if err := s.images.refresh(ctx); err != nil {
		return nil, err
	}
	i := s.images.find(ref)
	if i == nil {
		return &cri.RemoveImageResponse{}, nil
	}
	// An image with several tags goes only by force, which would also take it
	// from under stopped containers, so those are looked for first.
	if err := s.imageUnused(ctx, i.Id); err != nil {
		return nil, err
	}
	_, err := s.engine.ImageRemove(ctx, i.Id, image.RemoveOptions{Force: true, PruneChildren: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("remove image %s: %w", ref, err)
	}
	if err := s.images.refresh(ctx); err != nil {
		return nil, err
	}
	return &cri.RemoveImageResponse{}, nil
}

// imageUnused refuses to go on when a container, anybody's, runs or ran from
// the image.
func (s *Server) imageUnused(ctx context.Context, id string) error {
	list, err := s.engine.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, c := range list {
		if c.ImageID == id || slices.Contains(translate.VolumeImages(c.Labels), id) {
			return fmt.Errorf("image %s: container %s uses it; remove that first: %w", id, c.ID, errdefs.ErrFailedPrecondition)
		}
	}
	return nil
}

// portion is how many items one message of a streamed list carries. A message
// may not exceed 16 MiB, and an item with large annotations 256 KiB.
const portion = 50

// inPortions sends a list piece by piece; an empty list sends nothing.
func inPortions[T any](list []T, send func([]T) error) error {
	for part := range slices.Chunk(list, portion) {
		if err := send(part); err != nil {
			return err
		}
	}
	return nil
}
