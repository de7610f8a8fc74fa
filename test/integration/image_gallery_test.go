// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	imageregistry "github.com/google/go-containerregistry/pkg/registry"
)

// gallery is a registry in the test's own process that is filled without an
// engine: what it offers is the same whatever image store the engine has.
type gallery struct {
	*node
	host    string
	content http.Handler
	keeper  *atomic.Pointer[keeper]
}

// keeper may answer a request in the registry's place, and says whether it has.
type keeper func(w http.ResponseWriter, r *http.Request) (answered bool)

// gallery serves on a loopback address, which engines use without TLS.
func (n *node) gallery() *gallery {
	n.Helper()
	g := &gallery{
		node: n, keeper: &atomic.Pointer[keeper]{},
		content: imageregistry.New(imageregistry.Logger(log.New(io.Discard, "", 0))),
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k := g.keeper.Load(); k != nil && (*k)(w, r) {
			return
		}
		if r.Header.Get("Range") != "" {
			g.serveRange(w, r)
			return
		}
		g.content.ServeHTTP(jsonErrors{w}, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	n.Cleanup(func() {
		server.CloseClientConnections() // an engine may hold on to one
		server.Close()
	})
	g.host = strings.TrimPrefix(server.URL, "http://")
	return g
}

// serveRange serves the rest of what an engine has the beginning of. The
// registry itself knows no ranges without an end.
func (g *gallery) serveRange(w http.ResponseWriter, r *http.Request) {
	whole, all := r.Clone(r.Context()), httptest.NewRecorder()
	whole.Header.Del("Range")
	g.content.ServeHTTP(all, whole)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(all.Body.Bytes()))
}

// kept gives the registry a keeper for as long as the test runs.
func (g *gallery) kept(n *node, k keeper) {
	g.keeper.Store(&k)
	n.Cleanup(func() { g.keeper.Store(nil) })
}

// in is the same registry in the hands of a part of the test.
func (g *gallery) in(n *node) *gallery {
	return &gallery{n, g.host, g.content, g.keeper}
}

// Media types of Docker's own, which all registries and engines know.
const (
	typeManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeConfig   = "application/vnd.docker.container.image.v1+json"
	typeLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// exhibit is a manifest or an index in a gallery.
type exhibit struct {
	repository string // with the host
	mediaType  string
	content    []byte
	config     string   // its digest
	layers     []string // their digests
}

func digestOf(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

func (e exhibit) digest() string { return digestOf(e.content) }

// byDigest is the reference to pull it by.
func (e exhibit) byDigest() string { return e.repository + "@" + e.digest() }

// image puts an image of these layers, each a tar, into a repository. It has no
// tag yet.
func (g *gallery) image(repository string, layers ...[]byte) exhibit {
	g.Helper()
	e := exhibit{repository: g.host + "/" + repository, mediaType: typeManifest}
	var diffIDs []string
	var descriptors []any
	for _, layer := range layers {
		packed := g.gzip(layer)
		g.put(repository, packed)
		diffIDs, descriptors = append(diffIDs, digestOf(layer)), append(descriptors, descriptor(typeLayer, packed))
		e.layers = append(e.layers, digestOf(packed))
	}
	config := g.json(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Env": []string{"PATH=/bin"}, "User": "1234"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	g.put(repository, config)
	e.config = digestOf(config)
	e.content = g.json(map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest, "config": descriptor(typeConfig, config), "layers": descriptors,
	})
	g.request(http.MethodPut, "/v2/"+repository+"/manifests/"+e.digest(), typeManifest, e.content)
	return e
}

// index puts an index into the image's repository: beside the image for this
// machine there is one for another, of which the registry has nothing else.
func (g *gallery) index(image exhibit) exhibit {
	g.Helper()
	elsewhere := "s390x"
	if runtime.GOARCH == elsewhere {
		elsewhere = "amd64"
	}
	foreign := g.json(map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest, "config": descriptor(typeConfig, []byte("{}")), "layers": []any{},
	})
	repository := strings.TrimPrefix(image.repository, g.host+"/")
	g.request(http.MethodPut, "/v2/"+repository+"/manifests/"+digestOf(foreign), typeManifest, foreign)
	of := func(architecture string, manifest []byte) map[string]any {
		d := descriptor(typeManifest, manifest)
		d["platform"] = map[string]any{"architecture": architecture, "os": "linux"}
		return d
	}
	e := exhibit{repository: image.repository, mediaType: typeIndex, config: image.config, layers: image.layers}
	e.content = g.json(map[string]any{
		"schemaVersion": 2, "mediaType": typeIndex,
		"manifests": []any{of(elsewhere, foreign), of(runtime.GOARCH, image.content)},
	})
	return e
}

// tag gives the exhibit a tag, in place of what had it, and returns the
// reference to pull it by.
func (g *gallery) tag(e exhibit, tag string) string {
	g.Helper()
	g.request(http.MethodPut, "/v2/"+strings.TrimPrefix(e.repository, g.host+"/")+"/manifests/"+tag, e.mediaType, e.content)
	return e.repository + ":" + tag
}

func descriptor(mediaType string, content []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": digestOf(content), "size": len(content)}
}

func (g *gallery) gzip(content []byte) []byte {
	g.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(content)
	g.must("compress", err)
	g.must("compress", w.Close())
	return out.Bytes()
}

func (g *gallery) json(value any) []byte {
	g.Helper()
	text, err := json.Marshal(value)
	g.must("write JSON", err)
	return text
}

func (g *gallery) put(repository string, blob []byte) {
	g.Helper()
	g.request(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+digestOf(blob), "application/octet-stream", blob)
}

// blob is what the registry has of a digest.
func (g *gallery) blob(repository, digest string) []byte {
	g.Helper()
	w := httptest.NewRecorder()
	g.content.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v2/"+repository+"/blobs/"+digest, nil))
	if w.Code != http.StatusOK {
		g.Fatalf("blob %s: %d %s", digest, w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// request goes past the keeper.
func (g *gallery) request(method, path, mediaType string, body []byte) {
	g.Helper()
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", mediaType)
	w := httptest.NewRecorder()
	g.content.ServeHTTP(w, r)
	if w.Code != http.StatusCreated {
		g.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}
