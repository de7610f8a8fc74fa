// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	crierrors "k8s.io/cri-api/pkg/errors"
)

// refusal is what a registry, or the way to it, had against a pull. Its text
// tells all, so that it does not name its kinds as well.
type refusal struct {
	text  string
	kinds []error
}

func (r *refusal) Error() string   { return r.text }
func (r *refusal) Unwrap() []error { return r.kinds }

// Kinds with the word by which the kubelet knows them.
var (
	away = []error{errdefs.ErrUnavailable, crierrors.ErrRegistryUnavailable}
	// The kubelet's word is for a policy that wants signatures.
	unsigned = []error{errdefs.ErrFailedPrecondition, crierrors.ErrSignatureValidationFailed}
)

// refusals are the words by which what a registry says can be told apart: in the
// stream of messages the engine passes on no code, and before it most refusals
// are internal errors of the engine's. The first row that holds decides. A
// single word stands with the space before it, which no name of an image has.
var refusals = []struct {
	words string
	kinds []error
}{
	// Docker's engine itself checks no signatures: these are the words of Harbor,
	// of Mirantis' engine, and of whoever repeats the kubelet's.
	{"The image is not signed", unsigned},
	{"did not meet required signing policy", unsigned},
	{"trust data does not exist", unsigned},
	{"SignatureValidationFailed", unsigned},
	{"signature verification failed", unsigned},
	{"signature validation failed", unsigned},
	// Content that is not what its digest says was damaged, in the registry or
	// under way. No signature was looked at. With a graph driver the next attempt
	// may succeed; the containerd image store keeps what came, and fails again.
	{"verification failed for digest", []error{errdefs.ErrDataLoss}},
	{"unexpected commit ", []error{errdefs.ErrDataLoss}}, // the containerd image store's words
	// The registry, or the way there. A registry that limits is not away, so 429
	// is not among these.
	{"500 Internal Server Error", away},
	{"502 Bad Gateway", away},
	{"503 Service Unavailable", away},
	{"504 Gateway Timeout", away},
	{"service unavailable", away},   // a registry's own message, or its code, of which
	{"registry: unavailable", away}, // the containerd image store tells no more
	{"connection refused", away},
	{"connection reset by peer", away},
	{"i/o timeout", away},
	{"TLS handshake timeout", away},
	{"Client.Timeout exceeded", away},
	{"no such host", away},
	{"server misbehaving", away},                   // the name server's failure, in Go's words
	{"Temporary failure in name resolution", away}, // and in the C library's
	{"network is unreachable", away},
	{"no route to host", away},
	{"unexpected EOF", away},
	{`": EOF`, away},                                    // after the URL: closed before any answer
	{"expected HTTP 206 from byte range request", away}, // broken off, and no way to go on
	{" toomanyrequests", []error{errdefs.ErrResourceExhausted}},
	{"429 Too Many Requests", []error{errdefs.ErrResourceExhausted}},
	{"too many requests", []error{errdefs.ErrResourceExhausted}}, // a registry's own message, too
	{"HTTP 429 response", []error{errdefs.ErrResourceExhausted}}, // without a body that 20.10 can read, as below
	{"manifest unknown", []error{errdefs.ErrNotFound}},
	{"MANIFEST_UNKNOWN", []error{errdefs.ErrNotFound}}, // its code, where the engine cannot read the rest
	{"name unknown", []error{errdefs.ErrNotFound}},
	{"unknown blob", []error{errdefs.ErrNotFound}},
	{"not found", []error{errdefs.ErrNotFound}},
	{"HTTP 404 response", []error{errdefs.ErrNotFound}},
	{" unauthorized", []error{errdefs.ErrUnauthenticated}},
	{"401 Unauthorized", []error{errdefs.ErrUnauthenticated}},
	{"authentication required", []error{errdefs.ErrUnauthenticated}}, // again the registry's own
	{"no basic auth credentials", []error{errdefs.ErrUnauthenticated}},
	{" denied", []error{errdefs.ErrPermissionDenied}},
	{"403 Forbidden", []error{errdefs.ErrPermissionDenied}},
	{"HTTP 403 response", []error{errdefs.ErrPermissionDenied}},
}

func registryError(text string) error {
	for _, row := range refusals {
		if strings.Contains(" "+text, row.words) {
			return &refusal{text, row.kinds}
		}
	}
	return &refusal{text, []error{errdefs.ErrInternal}}
}

// kubeletWord is the kubelet's word for an error, nil for most.
func kubeletWord(err error) error {
	for _, word := range []error{crierrors.ErrRegistryUnavailable, crierrors.ErrSignatureValidationFailed} {
		if errors.Is(err, word) {
			return word
		}
	}
	return nil
}

// worded begins the message with the kubelet's word, where there is one: only
// there it looks.
func worded(err error) error {
	if word := kubeletWord(err); word != nil {
		return fmt.Errorf("%w: %w", word, err)
	}
	return err
}
