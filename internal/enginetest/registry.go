// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Remote is an image in a registry.
type Remote struct {
	image testImage
	// Password, unless empty, is asked of User.
	Password string
	// Broken takes the layer away; the manifest is there.
	Broken bool
	// Hold, unless nil, keeps the layer back until it is closed.
	Hold <-chan struct{}
}

// User is the one whose password a Remote asks for.
const User = "enginetest"

// ID is what the engine calls the image.
func (r Remote) ID() string { return r.image.id() }

const repository = "library/enginetest"

// Serve is Subject.Publish for real engines: it keeps the image in a registry of
// its own on 127.0.0.1, where engines want no TLS, until the test ends.
func Serve(t *testing.T, r Remote) (ref, digest string) {
	t.Helper()
	content := registry.New()
	open := httptest.NewServer(content)
	defer open.Close()
	digest = r.image.push(t, open.URL+"/v2/"+repository)

	server := httptest.NewServer(r.guard(content))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/" + repository + ":1", digest
}

// guard asks for the password, and keeps the layer back or away.
func (r Remote) guard(content http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		// From 26.1 on an engine reads the code of an error only where this says
		// that there is one.
		w.Header().Set("Content-Type", "application/json")
		layer := strings.Contains(request.URL.Path, "/blobs/") && !strings.HasSuffix(request.URL.Path, r.ID())
		switch {
		case !r.admits(request):
			w.Header().Set("WWW-Authenticate", `Basic realm="enginetest"`)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
			return
		case layer && r.Broken:
			http.NotFound(w, request)
			return
		case layer && r.Hold != nil:
			select {
			case <-r.Hold:
			case <-request.Context().Done():
				return
			}
		}
		content.ServeHTTP(w, request)
	})
}

func (r Remote) admits(request *http.Request) bool {
	user, password, _ := request.BasicAuth()
	return r.Password == "" || user == User && password == r.Password
}

// push uploads the image to the repository at base, under the tag 1, and returns
// the digest that it can be pulled by.
func (i testImage) push(t *testing.T, base string) string {
	t.Helper()
	layer := gzipOf(t, i.layer)
	for _, blob := range [][]byte{i.config, layer} {
		upload(t, http.MethodPost, base+"/blobs/uploads/?digest="+digestOf(blob), "application/octet-stream", blob)
	}
	const mediaType = "application/vnd.docker.distribution.manifest.v2+json"
	manifest := jsonOf(t, map[string]any{
		"schemaVersion": 2,
		"mediaType":     mediaType,
		"config":        descriptor("application/vnd.docker.container.image.v1+json", i.config),
		"layers":        []any{descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)},
	})
	upload(t, http.MethodPut, base+"/manifests/1", mediaType, manifest)
	return digestOf(manifest)
}

func descriptor(mediaType string, content []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": digestOf(content), "size": len(content)}
}

func upload(t *testing.T, method, url, mediaType string, body []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", mediaType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s: %s", method, url, response.Status)
	}
}
