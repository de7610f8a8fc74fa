// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"

	imageregistry "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// registry serves images on a loopback address, from where runtimes pull
// without TLS.
type registry struct{ server *httptest.Server }

func newRegistry() *registry {
	handler := imageregistry.New(imageregistry.Logger(log.New(io.Discard, "", 0)))
	return &registry{httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(jsonErrors{w}, r)
	}))}
}

// jsonErrors declares the errors of a registry to be JSON, as they are; some
// runtimes look at that.
type jsonErrors struct{ http.ResponseWriter }

func (w jsonErrors) WriteHeader(code int) {
	if code >= http.StatusBadRequest {
		w.Header().Set("Content-Type", "application/json")
	}
	w.ResponseWriter.WriteHeader(code)
}

// ref is what the runtime calls an image of this registry, name:tag.
func (r *registry) ref(name string) string { return r.host() + "/" + name }

func (r *registry) host() string { return strings.TrimPrefix(r.server.URL, "http://") }

// publish puts an image of one layer, a tar, under name:tag. It returns the
// digest of its manifest.
func (r *registry) publish(name string, config v1.Config, layer []byte) (string, error) {
	repo, tag, _ := strings.Cut(name, ":")
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write(layer); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	diff, _, err := v1.SHA256(bytes.NewReader(layer))
	if err != nil {
		return "", err
	}
	layerDescriptor, layerErr := r.upload(repo, types.DockerLayer, compressed.Bytes())
	text, err := json.Marshal(v1.ConfigFile{
		Architecture: runtime.GOARCH, OS: "linux", Config: config,
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diff}},
	})
	configDescriptor, configErr := r.upload(repo, types.DockerConfigJSON, text)
	if err := errors.Join(layerErr, err, configErr); err != nil {
		return "", err
	}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.DockerManifestSchema2, Config: configDescriptor, Layers: []v1.Descriptor{layerDescriptor},
	})
	if err != nil {
		return "", err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(manifest))
	if err != nil {
		return "", err
	}
	return digest.String(), r.send(http.MethodPut, "/v2/"+repo+"/manifests/"+tag, types.DockerManifestSchema2, manifest)
}

func (r *registry) upload(repo string, kind types.MediaType, blob []byte) (v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(blob))
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{MediaType: kind, Size: size, Digest: digest}
	return d, r.send(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digest.String(), "application/octet-stream", blob)
}

func (r *registry) send(method, path string, kind types.MediaType, body []byte) error {
	request, err := http.NewRequest(method, r.server.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", string(kind))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	return nil
}
