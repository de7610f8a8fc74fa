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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

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

// TestSilentRegistry: the engine does not begin to answer before the registry does.
func TestSilentRegistry(t *testing.T) {
	r := newRig(t)
	r.Server.config.PullProgressDeadline = 20 * time.Millisecond
	r.engine.Hang()
	defer r.engine.Resume()
	_, err := r.pullImage(t.Context(), remoteRef, nil)
	if !errors.Is(err, errNoProgress) {
		t.Errorf("error %v", err)
	}
}

func TestReadPull(t *testing.T) {
	for name, test := range map[string]struct {
		stream string
		want   []bool // for each news, whether a layer is being unpacked
	}{
		"as graph drivers go": {`{"id":"1","status":"Pulling from app"}{"id":"a","status":"Pulling fs layer"}{"id":"b","status":"Already exists"}
			{"id":"a","status":"Downloading"}{"id":"a","status":"Extracting"}{"id":"a","status":"Pull complete"}{"status":"Digest: sha256:1"}`,
			[]bool{false, false, false, false, true, false, false}},
		"one comes while the other is unpacked": {`{"id":"a","status":"Extracting"}{"id":"b","status":"Waiting"}{"id":"a","status":"Pull complete"}`,
			[]bool{true, true, false}},
		"the same again is no news": {`{"id":"a","status":"Downloading","progressDetail":{"current":1}}{"id":"a","status":"Downloading","progressDetail":{"current":1}}
			{"id":"a","status":"Downloading","progressDetail":{"current":2}}`,
			[]bool{false, false}},
		"nothing is said of unpacking": {`{"id":"a","status":"Pulling fs layer"}{"id":"b","status":"Pulling fs layer"}{"id":"a","status":"Download complete"}
			{"id":"b","status":"Download complete"}{"status":"Digest: sha256:1"}`,
			[]bool{false, false, false, true, true}},
		"a layer is looked through": {`{"id":"a","status":"Downloading"}{"id":"a","status":"Verifying Checksum"}`, []bool{false, true}},
	} {
		var got []bool
		err := readPull(strings.NewReader(test.stream), func(unpacking bool) { got = append(got, unpacking) })
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, test.want)
		}
	}
	for _, broken := range []string{`{"status":`, `nonsense`} {
		if err := readPull(strings.NewReader(broken), func(bool) {}); err == nil || kubeletWord(err) != nil {
			t.Errorf("stream %q: %v", broken, err)
		}
	}
}

// TestRegistryErrors are the engines' own words, as each has them.
func TestRegistryErrors(t *testing.T) {
	const resolve, copied = `failed to resolve reference "r.example/denied/unauthorized:1": `, "failed to copy: httpReadSeeker: failed open: "
	for text, want := range map[string]struct {
		is   func(error) bool
		word error
	}{
		// 20.10 and later, graph drivers.
		`Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused`:                         {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		`Get "https://r.example/v2/": dial tcp: lookup r.example on 10.0.0.1:53: no such host`:                    {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		`Get "http://r.example/v2/": net/http: request canceled (Client.Timeout exceeded while awaiting headers)`: {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		`Get "http://r.example/v2/": EOF`:                            {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		"received unexpected HTTP status: 503 Service Unavailable":   {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		"received unexpected HTTP status: 500 Internal Server Error": {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		"unexpected EOF": {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		"toomanyrequests: You have reached your pull rate limit.":                {errdefs.IsResourceExhausted, nil},
		`error parsing HTTP 429 response body: unexpected end of JSON input: ""`: {errdefs.IsResourceExhausted, nil},
		"manifest for denied:1 not found: manifest unknown":                      {errdefs.IsNotFound, nil},
		"unknown blob":                          {errdefs.IsNotFound, nil},
		"unauthorized":                          {errdefs.IsUnauthorized, nil},
		"unauthorized: authentication required": {errdefs.IsUnauthorized, nil},
		"Get http://r.example/: no basic auth credentials": {errdefs.IsUnauthorized, nil},
		"denied": {errdefs.IsPermissionDenied, nil},
		`error parsing HTTP 403 response body: unexpected end of JSON input: ""`:                            {errdefs.IsPermissionDenied, nil},
		"filesystem layer verification failed for digest sha256:1":                                          {errdefs.IsDataLoss, nil},
		"error pulling image configuration: image config verification failed for digest sha256:1":           {errdefs.IsDataLoss, nil},
		"unknown: The image is not signed in Notary.":                                                       {errdefs.IsFailedPrecondition, crierrors.ErrSignatureValidationFailed},
		"r.example/app:1: image did not meet required signing policy":                                       {errdefs.IsFailedPrecondition, crierrors.ErrSignatureValidationFailed},
		"authorization denied by plugin policy: SignatureValidationFailed: no signature of release@example": {errdefs.IsFailedPrecondition, crierrors.ErrSignatureValidationFailed},
		"failed to register layer: write /x: no space left on device":                                       {errdefs.IsInternal, nil},
		// The containerd image store, of 26.1 and of 28.5.
		resolve + `failed to do request: Head "https://r.example/v2/denied/unauthorized/manifests/1": dial tcp 127.0.0.1:1: connect: connection refused`: {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		"unknown: " + resolve + "unexpected status from HEAD request to http://r.example/v2/denied/unauthorized/manifests/1: 504 Gateway Timeout":        {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		"unknown: " + resolve + "unexpected status from HEAD request to http://r.example/v2/denied/unauthorized/manifests/1: 429 Too Many Requests":      {errdefs.IsResourceExhausted, nil},
		"unknown: " + resolve + "unexpected status from HEAD request to http://r.example/v2/denied/unauthorized/manifests/1: 401 Unauthorized":           {errdefs.IsUnauthorized, nil},
		resolve + "unexpected status from HEAD request to http://r.example/v2/denied/unauthorized/manifests/1: 412 Precondition Failed":                  {errdefs.IsInternal, nil},
		copied + "unexpected status code https://r.example/v2/app/blobs/sha256:1: 403 Forbidden - Server message: denied":                                {errdefs.IsPermissionDenied, nil},
		copied + "could not fetch content descriptor sha256:1 (application/vnd.oci.image.layer.v1.tar) from remote: not found":                           {errdefs.IsNotFound, nil},
		"error from registry: unavailable\nunavailable":                                                                                   {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		"error from registry: unauthorized\nunauthorized":                                                                                 {errdefs.IsUnauthorized, nil},
		"short read: expected 201771 bytes but got 100000: unexpected EOF":                                                                {errdefs.IsUnavailable, crierrors.ErrRegistryUnavailable},
		`failed commit on ref "manifest-sha256:1": commit failed: unexpected commit size 428, expected 427: failed precondition`:          {errdefs.IsDataLoss, nil},
		`failed commit on ref "layer-sha256:1": commit failed: unexpected commit digest sha256:2, expected sha256:1: failed precondition`: {errdefs.IsDataLoss, nil},
	} {
		err := readPull(strings.NewReader(fmt.Sprintf(`{"errorDetail":{"message":%q},"error":%q}`, text, text)), func(bool) {})
		if !want.is(err) || err.Error() != text || kubeletWord(err) != want.word {
			t.Errorf("%s: kind or word of another: %#v", text, err)
		}
	}
}

// kubeletSees is what the kubelet's client makes of an answer to PullImage.
func kubeletSees(err error) string {
	if s := status.Convert(coded(err)); s.Code() == codes.Unknown {
		return s.Message()
	}
	return coded(err).Error()
}

// TestWordsForTheKubelet: the kubelet looks for its words where the message
// begins, after its client has dealt with it.
func TestWordsForTheKubelet(t *testing.T) {
	for says, word := range map[string]string{
		"dial tcp: connection refused": "RegistryUnavailable: pull image " + remoteRef + ": ",
		"The image is not signed.":     "SignatureValidationFailed: pull image " + remoteRef + ": ",
		"unauthorized":                 "rpc error: code = Unauthenticated",
	} {
		r := newRig(t)
		r.engine.Publish(remoteRef, fakeengine.Remote{Err: fmt.Errorf("%s: %w", says, errdefs.ErrInternal)})
		_, err := r.pullImage(t.Context(), remoteRef, nil)
		if got := kubeletSees(err); !strings.HasPrefix(got, word) || strings.Count(got, "RegistryUnavailable") > 1 {
			t.Errorf("%s: the kubelet sees %q, want it to begin with %q", says, got, word)
		}
	}
	// The engine's own absence is not the registry's.
	r := newRig(t)
	r.engine.Publish(remoteRef, fakeengine.Remote{Err: errdefs.ErrUnavailable})
	_, err := r.pullImage(t.Context(), remoteRef, nil)
	if status.Code(coded(err)) != codes.Unavailable {
		t.Errorf("without an engine: %v", coded(err))
	}
}

// TestOddReferences: no call takes what can mean no image, and none of them
// troubles the engine with it.
func TestOddReferences(t *testing.T) {
	r := newRig(t)
	for _, ref := range oddReferences {
		spec := &cri.ImageSpec{Image: ref}
		_, pull := r.PullImage(t.Context(), &cri.PullImageRequest{Image: spec})
		_, look := r.ImageStatus(t.Context(), &cri.ImageStatusRequest{Image: spec})
		_, remove := r.RemoveImage(t.Context(), &cri.RemoveImageRequest{Image: spec})
		for _, err := range []error{pull, look, remove} {
			wantKind(t, err, errdefs.IsInvalidArgument)
			if shown := fmt.Sprintf("%.512q", ref); !strings.Contains(err.Error(), "image.image: ") || ref != "" && !strings.Contains(err.Error(), shown) {
				t.Errorf("the error names not field and value: %v", err)
			}
		}
		if _, err := r.ListImages(t.Context(), &cri.ListImagesRequest{Filter: &cri.ImageFilter{Image: spec}}); err != nil {
			t.Errorf("filter %q: %v", ref, err)
		}
	}
	r.wantCalls()
	_, err := r.pullImage(t.Context(), r.imageStatus(appRef).Id, nil)
	wantKind(t, err, errdefs.IsInvalidArgument)
}

// oddReferences mean no image to anybody.
var oddReferences = []string{
	"", " ", "busybox ", "Busybox", "a:b:c", "busybox@sha256:short", "busybox@sha256:" + strings.Repeat("g", 64), "busybox:" + strings.Repeat("t", 129),
	strings.Repeat("n", 256), strings.Repeat("n", 100_000), "http://registry.example/x", "docker-pullable://busybox@sha256:" + strings.Repeat("0", 64),
	"docker://sha256:" + strings.Repeat("0", 64), "-busybox", "--privileged", "busybox\x00", "büsybox", "busybox:ä", "\u202ebusybox", "a//b", "/a", "a/", ":1", "@",
	"busybox\n", "busybox:latest;reboot", "../busybox", "${IMAGE}",
}

// TestCredentialsOfAnotherRegistry are not sent, whatever the engine would do.
func TestCredentialsOfAnotherRegistry(t *testing.T) {
	r := newRig(t)
	r.engine.Publish(remoteRef, fakeengine.Remote{Username: "me", Password: "secret"})
	auth := &cri.AuthConfig{Username: "me", Password: "secret", ServerAddress: "https://elsewhere.example/v1/"}
	_, err := r.pullImage(t.Context(), remoteRef, auth)
	wantKind(t, err, errdefs.IsUnauthorized)
	auth.ServerAddress = "https://registry.example/v1/"
	if _, err := r.pullImage(t.Context(), remoteRef, auth); err != nil {
		t.Error(err)
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

// TestRemoveImage: a tag of which no event has told yet goes as well.
func TestRemoveImage(t *testing.T) {
	r := newRig(t)
	r.engine.Tag(appRef, "registry.example/app:2")
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

// All that ask for it at once are answered when the image is gone.
func TestRemoveImageAtOnce(t *testing.T) {
	r := newRig(t)
	id := r.images.find(appRef).Id
	var callers sync.WaitGroup
	for range 10 {
		callers.Go(func() {
			if _, err := r.RemoveImage(t.Context(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: appRef}}); err != nil {
				t.Error(err)
			}
			if r.images.find(id) != nil {
				t.Error("it is still listed")
			}
		})
	}
	callers.Wait()
	if n := r.engine.Count("ImageRemove"); n != 1 {
		t.Errorf("removed %d times", n)
	}
}
