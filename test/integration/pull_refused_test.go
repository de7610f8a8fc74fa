// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"
)

// Words by which the kubelet knows an error.
var (
	wordAway     = crierrors.ErrRegistryUnavailable.Error()
	wordUnsigned = crierrors.ErrSignatureValidationFailed.Error()
)

// kubeletSees is what the kubelet's client makes of an answer to PullImage: it
// cuts off gRPC's words only where the code is Unknown.
func kubeletSees(err error) string {
	if s := status.Convert(err); s.Code() == codes.Unknown {
		return s.Message()
	}
	return err.Error()
}

// wantRefused checks an answer to PullImage. The kubelet looks for its word where
// the message begins; without a word there must be none.
func (n *node) wantRefused(err error, code codes.Code, word string) {
	n.Helper()
	if strings.Contains(fmt.Sprint(err), "pull access denied") && status.Code(err) == codes.NotFound {
		// Registries refuse what is not there, too: engines take both for the same.
		code = codes.NotFound
	}
	n.wantCode("PullImage", err, code)
	if err == nil {
		return
	}
	sees := kubeletSees(err)
	n.Logf("the kubelet sees %q", sees)
	for _, each := range []string{wordAway, wordUnsigned} {
		if begins := strings.HasPrefix(sees, each+": "); begins != (each == word) {
			n.Errorf("begins with %q: %t, want it to begin with %q", each, begins, word)
		}
	}
}

// answer is a keeper that refuses whatever has the text in its path.
func answer(path string, code int, body string) keeper {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, path) {
			return false
		}
		if body != "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// registrySays is the body of a registry's error.
func registrySays(code, message string) string {
	text, _ := json.Marshal(map[string]any{"errors": []any{map[string]any{"code": code, "message": message}}})
	return string(text)
}

// layerErrors are bodies as a registry writes them.
var layerErrors = map[int]string{
	403: registrySays("DENIED", "requested access to the resource is denied"),
	404: registrySays("BLOB_UNKNOWN", "blob unknown to registry"),
	503: registrySays("UNAVAILABLE", "service unavailable"),
}

// refusedPulls: what a registry refuses has the code and the word of its reason,
// and leaves nothing in the way of the next attempt.
func (n *node) refusedPulls() {
	g := n.gallery()
	const all, manifest, layer = "/v2/", "/manifests/", "layer"
	for name, test := range map[string]struct {
		keeper keeper
		at     string // layer stands for the layer's path
		code   codes.Code
		word   string
	}{
		"500 at once":          {answer(all, 500, ""), all, codes.Unknown, wordAway},
		"502 at once":          {answer(all, 502, "{}"), all, codes.Unknown, wordAway},
		"503 at once":          {answer(all, 503, ""), all, codes.Unknown, wordAway},
		"504 at once":          {answer(all, 504, ""), all, codes.Unknown, wordAway},
		"429 at once":          {answer(all, 429, registrySays("TOOMANYREQUESTS", "limit reached")), all, codes.ResourceExhausted, ""},
		"closed at once":       {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, all, codes.Unknown, wordAway},
		"503 for the manifest": {answer(manifest, 503, registrySays("UNAVAILABLE", "maintenance")), manifest, codes.Unknown, wordAway},
		"429 for the manifest": {answer(manifest, 429, ""), manifest, codes.ResourceExhausted, ""},
		"401 for the manifest": {answer(manifest, 401, registrySays("UNAUTHORIZED", "authentication required")), manifest, codes.Unauthenticated, ""},
		"403 for the manifest": {answer(manifest, 403, registrySays("DENIED", "requested access is denied")), manifest, codes.PermissionDenied, ""},
		"404 for the manifest": {answer(manifest, 404, registrySays("MANIFEST_UNKNOWN", "manifest unknown")), manifest, codes.NotFound, ""},
		"404 for the name":     {answer(manifest, 404, registrySays("NAME_UNKNOWN", "repository name not known")), manifest, codes.NotFound, ""},
		"503 for the layer":    {nil, "503", codes.Unknown, wordAway},
		"403 for the layer":    {nil, "403", codes.PermissionDenied, ""},
		"404 for the layer":    {nil, "404", codes.NotFound, ""},
	} {
		n.sub(name, func(n *node) {
			g := g.in(n)
			e := g.image(strings.ReplaceAll(name, " ", "-"), smallFiles(n, name))
			keeper := test.keeper
			if keeper == nil {
				code, _ := strconv.Atoi(test.at)
				keeper = answer(e.layers[0], code, layerErrors[code])
			}
			n.wantRecovery(g, e, keeper, test.code, test.word)
		})
	}
	for name, ref := range map[string]string{"no registry": "127.0.0.1:1/image:1", "no such host": "registry.invalid/image:1"} {
		n.sub(name, func(n *node) {
			_, err := n.pull(ref, nil)
			n.wantRefused(err, codes.Unknown, wordAway)
		})
	}
	n.sub("not signed", func(n *node) {
		if onContainerd() {
			n.Skip("the containerd image store asks for a manifest by HEAD, whose answer has no words")
		}
		e := g.in(n).image("unsigned", smallFiles(n, "unsigned"))
		n.wantRecovery(g, e, answer(manifest, 412, registrySays("PROJECTPOLICYVIOLATION", "The image is not signed in Notary.")), codes.Unknown, wordUnsigned)
	})
}

// wantRecovery pulls an image in vain, and then with success.
func (n *node) wantRecovery(g *gallery, e exhibit, k keeper, code codes.Code, word string) {
	n.Helper()
	ref := g.tag(e, "1")
	g.keeper.Store(&k)
	_, err := n.pull(ref, nil)
	g.keeper.Store(nil)
	n.wantRefused(err, code, word)
	n.wantNoImage(ref)
	id, err := n.pull(ref, nil)
	n.must("the next attempt", err)
	n.must("RemoveImage", n.removeImage(id))
}

// damagedPulls: content that is not what its digest says is no image. It is no
// matter of signatures either.
func (n *node) damagedPulls() {
	g := n.gallery()
	flipped := func(content []byte) []byte {
		content = append([]byte{}, content...)
		content[len(content)/2] ^= 1
		return content
	}
	half := func(content []byte) []byte { return content[:len(content)/2] }
	for name, test := range map[string]struct {
		at     func(e exhibit) string
		damage func([]byte) []byte
		code   codes.Code
		word   string
	}{
		"layer changed":    {func(e exhibit) string { return e.layers[0] }, flipped, codes.DataLoss, ""},
		"layer cut off":    {func(e exhibit) string { return e.layers[0] }, half, codes.Unknown, wordAway},
		"config changed":   {func(e exhibit) string { return e.config }, flipped, codes.DataLoss, ""},
		"manifest changed": {func(e exhibit) string { return e.digest() }, func(b []byte) []byte { return append(b, '\n') }, codes.DataLoss, ""},
	} {
		n.sub(name, func(n *node) {
			g := g.in(n)
			repository := strings.ReplaceAll(name, " ", "-")
			e := g.image(repository, n.bulk(name, 1<<20))
			good := e.content
			if test.at(e) != e.digest() {
				good = g.blob(repository, test.at(e))
			}
			g.kept(n, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, test.at(e)) {
					return false
				}
				bad := test.damage(good)
				w.Header().Set("Content-Type", e.mediaType)
				w.Header().Set("Docker-Content-Digest", test.at(e))
				w.Header().Set("Content-Length", fmt.Sprint(max(len(good), len(bad))))
				if r.Method == http.MethodGet {
					_, _ = w.Write(bad)
				}
				return true
			})
			_, err := n.pull(e.byDigest(), nil)
			n.wantRefused(err, test.code, test.word)
			n.wantNoImage(e.byDigest())
			g.keeper.Store(nil)
			_, err = n.pull(e.byDigest(), nil)
			if onContainerd() && status.Code(err) == codes.DataLoss {
				n.Logf("the containerd image store keeps what was damaged, and goes on from there: %v", err)
			} else if err != nil {
				n.Errorf("the next attempt: %v", err)
			}
			n.must("RemoveImage", n.removeImage(e.byDigest()))
		})
	}
}

// oddReferences: what can mean no image is refused by each call, with the field
// and the value in the message.
func (n *node) oddReferences() {
	for _, ref := range []string{
		"", " ", "Busybox", "a:b:c", "busybox@sha256:short", strings.Repeat("n", 256), "b\u00fcsybox", "http://registry.example/x",
		"docker-pullable://busybox@sha256:" + strings.Repeat("0", 64), "-busybox", "--all", "busybox\x00", "busybox\n", "../x",
	} {
		_, pull := n.pull(ref, nil)
		_, look := n.images.ImageStatus(n.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: ref}})
		for what, err := range map[string]error{"PullImage": pull, "ImageStatus": look, "RemoveImage": n.removeImage(ref)} {
			message := n.wantCode(fmt.Sprintf("%s of %q", what, ref), err, codes.InvalidArgument)
			if !strings.Contains(message, "image.image: ") || ref != "" && !strings.Contains(message, strconv.Quote(ref)) {
				n.Errorf("%s names not field and value: %s", what, message)
			}
		}
	}
	// These are good ones, though nothing is there.
	for _, ref := range []string{"localhost/x", "localhost:5000/x", "never.example/x:1@sha256:" + strings.Repeat("0", 64), strings.Repeat("0", 64)} {
		if i := n.imageStatus(ref); i != nil {
			n.Errorf("ImageStatus of %s: %v", ref, i)
		}
		n.must("RemoveImage", n.removeImage(ref))
	}
}
