// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	imageregistry "github.com/google/go-containerregistry/pkg/registry"
)

// Who may use a private registry.
const (
	registryUser     = "somebody"
	registryPassword = "canary-password-8d1f"
)

// registry serves images on a loopback address, which engines use without TLS.
// It returns its host and port. With private, it asks for the credentials.
func (n *node) registry(private bool) string {
	n.Helper()
	handler := imageregistry.New(imageregistry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if private && (user != registryUser || password != registryPassword) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(jsonErrors{w}, r)
	}))
	n.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// jsonErrors declares the errors of a registry to be JSON, as they are; engines
// since 25.0 look at that.
type jsonErrors struct{ http.ResponseWriter }

func (w jsonErrors) WriteHeader(code int) {
	if code >= http.StatusBadRequest {
		w.Header().Set("Content-Type", "application/json")
	}
	w.ResponseWriter.WriteHeader(code)
}

// publish puts a small new image into a registry, under a tag, and takes it
// from the engine again. It returns the reference by digest.
func (n *node) publish(ref string) (byDigest string) {
	n.Helper()
	n.engine.makeImage(n, ref, smallFiles(n, ref), "ENV PATH=/bin", "USER 1234")
	defer n.engine.removeImage(n, ref)
	auth, err := json.Marshal(registry.AuthConfig{Username: registryUser, Password: registryPassword})
	n.must("write credentials", err)
	progress, err := n.engine.ImagePush(n.Context(), ref, image.PushOptions{RegistryAuth: base64.URLEncoding.EncodeToString(auth)})
	n.must("push", err)
	defer progress.Close()
	text, err := io.ReadAll(progress)
	n.must("push", err)
	inspect, err := n.engine.ImageInspect(n.Context(), ref)
	n.must("inspect", err)
	if len(inspect.RepoDigests) == 0 {
		n.Fatalf("push %s: %s", ref, text)
	}
	return inspect.RepoDigests[0]
}
