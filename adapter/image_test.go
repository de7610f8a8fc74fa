// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/internal/fakeengine"
)

const remoteRef = "registry.example/remote:1"

func (r *rig) pullImage(ctx context.Context, ref string, auth *cri.AuthConfig) (string, error) {
	out, err := r.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}, Auth: auth})
	return out.GetImageRef(), err
}

func (r *rig) imageStatus(ref string) *cri.Image {
	r.t.Helper()
	out, err := r.ImageStatus(r.t.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: ref}})
	if err != nil {
		r.t.Fatalf("ImageStatus: %v", err)
	}
	return out.Image
}

func TestPullImage(t *testing.T) {
	r := newRig(t)
	digest := r.engine.Publish(remoteRef, fakeengine.Remote{Image: fakeengine.Image{Size: 5}})
	id, err := r.pullImage(t.Context(), remoteRef, nil)
	if err != nil {
		t.Fatal(err)
	}
	byDigest := "registry.example/remote@" + digest
	for _, ref := range []string{remoteRef, id, strings.TrimPrefix(id, "sha256:")[:12], byDigest} {
		if i := r.imageStatus(ref); i == nil || i.Id != id || i.Size != 5 {
			t.Errorf("%s is %v", ref, i)
		}
	}
	if again, err := r.pullImage(t.Context(), byDigest, nil); err != nil || again != id {
		t.Errorf("pull by digest: %s, %v", again, err)
	}
}

func TestPullWithCredentials(t *testing.T) {
	r := newRig(t)
	r.engine.Publish(remoteRef, fakeengine.Remote{Username: "me", Password: "secret"})
	if _, err := r.pullImage(t.Context(), remoteRef, nil); err == nil {
		t.Error("pulled without credentials")
	}
	if _, err := r.pullImage(t.Context(), remoteRef, &cri.AuthConfig{Auth: "bWU6c2VjcmV0"}); err != nil {
		t.Error(err)
	}
	_, err := r.pullImage(t.Context(), remoteRef, &cri.AuthConfig{Auth: "no colon"})
	wantKind(t, err, errdefs.IsInvalidArgument)
}

func TestPullThatFails(t *testing.T) {
	r := newRig(t)
	_, err := r.pullImage(t.Context(), "registry.example/absent:1", nil)
	wantKind(t, err, errdefs.IsNotFound)
	_, err = r.pullImage(t.Context(), "UPPER CASE", nil)
	wantKind(t, err, errdefs.IsInvalidArgument)
	r.engine.Publish(remoteRef, fakeengine.Remote{Broken: true})
	if _, err = r.pullImage(t.Context(), remoteRef, nil); err == nil {
		t.Error("an error in the stream of progress was taken for success")
	}
}

func TestEqualPullsShareOneDownload(t *testing.T) {
	r := newRig(t)
	hold := make(chan struct{})
	r.engine.Publish(remoteRef, fakeengine.Remote{Hold: hold})
	impatient, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	pull := func(ctx context.Context, want error) {
		if _, err := r.pullImage(ctx, remoteRef, nil); !errors.Is(err, want) {
			t.Errorf("pull: %v, want %v", err, want)
		}
	}
	wg.Go(func() { pull(impatient, context.Canceled) })
	wg.Go(func() { pull(t.Context(), nil) })
	wg.Go(func() { pull(t.Context(), nil) })
	r.eventually("all wait for it", func() bool { return r.waitingFor("pull "+remoteRef+" ") == 3 })
	leave()
	r.eventually("one has left", func() bool { return r.waitingFor("pull "+remoteRef+" ") == 2 })
	close(hold)
	wg.Wait()
	if n := r.engine.Count("ImagePull"); n != 1 {
		t.Errorf("%d downloads", n)
	}
}

func (r *rig) waitingFor(key string) int {
	r.flights.mu.Lock()
	defer r.flights.mu.Unlock()
	if f := r.flights.flying[key]; f != nil {
		return f.waiting
	}
	return 0
}

func TestPullEndsWithItsLastCaller(t *testing.T) {
	r := newRig(t)
	r.engine.Publish(remoteRef, fakeengine.Remote{Hold: make(chan struct{})})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := r.pullImage(ctx, remoteRef, nil)
	wantKind(t, err, errdefs.IsDeadlineExceeded)
	r.flights.wait() // hangs where the download goes on
}

func TestPullWithoutProgress(t *testing.T) {
	r := newRig(t)
	r.Server.config.PullProgressDeadline = 20 * time.Millisecond
	r.engine.Publish(remoteRef, fakeengine.Remote{Hold: make(chan struct{})})
	_, err := r.pullImage(t.Context(), remoteRef, nil)
	wantKind(t, err, errdefs.IsUnavailable)
	if !errors.Is(err, errNoProgress) || !strings.Contains(err.Error(), "--image-pull-progress-deadline") {
		t.Errorf("error %v", err)
	}
}

func TestReadPull(t *testing.T) {
	var states []bool
	err := readPull(strings.NewReader(`{"id":"a","status":"Downloading"}{"id":"a","status":"Extracting"}{"id":"a","status":"Pull complete"}`),
		func(unpacking bool) { states = append(states, unpacking) })
	if err != nil || !slices.Equal(states, []bool{false, true, false}) {
		t.Errorf("%v, %v", states, err)
	}
	for text, is := range map[string]func(error) bool{
		`{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}`: errdefs.IsNotFound,
		`{"error":"unauthorized: authentication required"}`:                         errdefs.IsUnauthorized,
		`{"error":"dial tcp: connection refused"}`:                                  errdefs.IsUnavailable,
		`{"error":"no space left on device"}`:                                       errdefs.IsInternal,
		`{"status":`:                                                                func(err error) bool { return err != nil },
	} {
		wantKind(t, readPull(strings.NewReader(text), func(bool) {}), is)
	}
}

func TestImageStatus(t *testing.T) {
	r := newRig(t)
	i := r.imageStatus(appRef)
	if i == nil || i.Uid.GetValue() != 1000 || i.Pinned {
		t.Errorf("image %v", i)
	}
	r.wantCalls("ImageInspect")
	r.imageStatus(appRef)
	r.wantCalls("ImageInspect") // the user is asked for once
	if i := r.imageStatus("absent:1"); i != nil {
		t.Errorf("absent image %v", i)
	}
	_, err := r.ImageStatus(t.Context(), &cri.ImageStatusRequest{})
	wantKind(t, err, errdefs.IsInvalidArgument)
}

func TestListImages(t *testing.T) {
	r := newRig(t)
	all := r.listedImages(nil)
	if len(all) != 2 || all[0].Pinned == all[1].Pinned {
		t.Errorf("images %v", all)
	}
	for ref, want := range map[string]int{appRef: 1, "absent:1": 0} {
		out, err := r.ListImages(t.Context(), &cri.ListImagesRequest{Filter: &cri.ImageFilter{Image: &cri.ImageSpec{Image: ref}}})
		if err != nil || len(out.Images) != want {
			t.Errorf("filter %s: %v, %v", ref, out, err)
		}
	}
}

func TestImagesChangedBehindOurBack(t *testing.T) {
	r := newRig(t).watched()
	r.engine.Tag(appRef, "registry.example/app:2")
	r.eventually("the tag shows", func() bool { return r.imageStatus("registry.example/app:2") != nil })
}

func TestRemoveImage(t *testing.T) {
	r := newRig(t)
	r.engine.Tag(appRef, "registry.example/app:2")
	if err := r.images.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	remove := func() error {
		_, err := r.RemoveImage(t.Context(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: appRef}})
		return err
	}
	used, err := r.engine.ContainerCreate(t.Context(), &container.Config{Image: appRef}, &container.HostConfig{}, nil, nil, "users-own")
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, remove(), errdefs.IsFailedPrecondition)
	if r.imageStatus("registry.example/app:2") == nil {
		t.Error("a refused removal took a tag away")
	}
	r.engine.RemoveBehind(used.ID)
	for range 2 {
		if err := remove(); err != nil {
			t.Error(err)
		}
	}
	if r.imageStatus("registry.example/app:2") != nil {
		t.Error("the other tag is left")
	}
}

func TestImageFsInfo(t *testing.T) {
	r := newRig(t)
	for range 2 {
		out, err := r.ImageFsInfo(t.Context(), &cri.ImageFsInfoRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.ImageFilesystems) != 1 || len(out.ContainerFilesystems) != 1 || out.ImageFilesystems[0].FsId.Mountpoint == "" {
			t.Errorf("file systems %v", out)
		}
	}
	r.wantCalls("DiskUsage") // once for both
}

func TestPortions(t *testing.T) {
	for _, n := range []int{0, 1, portion, portion + 1} {
		list := make([]int, n)
		var got, messages int
		err := inPortions(list, func(part []int) error {
			got += len(part)
			messages++
			return nil
		})
		if err != nil || got != n || messages != (n+portion-1)/portion {
			t.Errorf("%d items: %d in %d messages, %v", n, got, messages, err)
		}
	}
	if err := inPortions([]int{1}, func([]int) error { return fmt.Errorf("gone") }); err == nil {
		t.Error("a listener who left is not noticed")
	}
}
