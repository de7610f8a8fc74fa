// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
)

// Remote is an image in the registry that ImagePull asks.
type Remote struct {
	Image Image
	// Username and Password are what a pull must bring along. Without Password
	// anybody may pull.
	Username, Password string
	// Broken makes the layer fail: the stream of progress ends in an error.
	Broken bool
	// Hold, unless nil, keeps the download waiting in the middle until it is
	// closed.
	Hold <-chan struct{}
	// Err, unless nil, refuses the pull before there is any progress.
	Err error
}

// Publish puts an image into the registry, in place of an earlier one of that
// tag. It returns the digest, by which the image can be pulled too.
func (e *Engine) Publish(ref string, r Remote) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.Image.ID == "" {
		r.Image.ID = "sha256:" + randomID()
	}
	named := mustParse(ref)
	e.remotes[named.String()] = r
	e.remotes[r.byDigest(named).String()] = r
	return r.digest()
}

func (r Remote) digest() string { return digestOf("manifest of " + r.Image.ID) }

// byDigest refers to the image in the repository that named is of.
func (r Remote) byDigest(named reference.Named) reference.Named {
	return mustParse(named.Name() + "@" + r.digest())
}

// ImagePull pulls what was published. The pull goes on as the stream is read,
// and is given up when that is closed.
func (e *Engine) ImagePull(ctx context.Context, ref string, options image.PullOptions) (io.ReadCloser, error) {
	parsed, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, err // the client's own check: no call is made
	}
	return call(ctx, e, Call{"ImagePull", ref, options}, func() (io.ReadCloser, error) {
		named := storeName(parsed)
		remote, ok := e.remotes[named.String()]
		if !ok {
			return nil, notFound("manifest for %s not found: manifest unknown", reference.FamiliarString(named))
		}
		if err := remote.admit(options.RegistryAuth); err != nil {
			return nil, err
		}
		return e.download(ctx, named, remote), nil
	})
}

// admit checks the credentials. dockerd before 28 reports an internal error
// for all that is wrong with them.
func (r Remote) admit(header string) error {
	if r.Err != nil {
		return r.Err
	}
	if r.Password == "" {
		return nil
	}
	given, err := registry.DecodeAuthConfig(header)
	if err != nil || given.Username == "" {
		return internal("no basic auth credentials")
	}
	if given.Username != r.Username || given.Password != r.Password {
		return internal("unauthorized")
	}
	return nil
}

// download is the stream of a pull's progress; reading it is what pulls.
type download struct {
	ctx     context.Context // the call's, and ended by Close
	cancel  context.CancelFunc
	session <-chan struct{}
	e       *Engine
	steps   []func(*download) error
	text    bytes.Buffer
}

func (e *Engine) download(ctx context.Context, named reference.Named, r Remote) *download {
	layer := strings.TrimPrefix(digestOf("layer of "+r.Image.ID), "sha256:")[:12]
	ctx, cancel := context.WithCancel(ctx)
	session, _ := e.faults.state()
	return &download{ctx: ctx, cancel: cancel, session: session, e: e, steps: []func(*download) error{
		func(d *download) error { return d.begin(named, layer) },
		func(d *download) error { return d.hold(r.Hold) },
		func(d *download) error { return d.finish(named, r, layer) },
	}}
}

func (d *download) begin(named reference.Named, layer string) error {
	tell(&d.text, map[string]any{"status": "Pulling from " + reference.Path(named), "id": reference.FamiliarString(named)})
	d.progress(layer, "Pulling fs layer", 0, 0)
	d.progress(layer, "Downloading", 1, 2)
	return nil
}

func (d *download) hold(until <-chan struct{}) error {
	if until == nil {
		return nil
	}
	select {
	case <-until:
		return nil
	case <-d.session:
		return io.ErrUnexpectedEOF
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
}

func (d *download) finish(named reference.Named, r Remote, layer string) error {
	if r.Broken {
		tellError(&d.text, io.ErrUnexpectedEOF)
		return nil
	}
	d.progress(layer, "Downloading", 2, 2)
	d.progress(layer, "Download complete", 0, 0)
	d.progress(layer, "Extracting", 2, 2)
	d.progress(layer, "Pull complete", 0, 0)
	tell(&d.text, map[string]any{"status": "Digest: " + r.digest()})
	tell(&d.text, map[string]any{"status": "Status: Downloaded newer image for " + reference.FamiliarString(named)})
	d.e.keep(named, r)
	return nil
}

func (d *download) progress(layer, status string, current, total int) {
	detail := map[string]any{}
	if total > 0 {
		detail["current"], detail["total"] = current, total
	}
	tell(&d.text, map[string]any{"status": status, "id": layer, "progressDetail": detail})
}

// keep stores what was downloaded.
func (e *Engine) keep(named reference.Named, r Remote) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, err := e.findImage(r.Image.ID)
	if err != nil {
		i = store(r.Image)
		e.images = append(e.images, i)
	}
	e.giveRef(i, r.byDigest(named))
	if !isDigest(named) {
		e.giveRef(i, named)
	}
	e.imageEvent(i.config.Labels, events.ActionPull, reference.FamiliarString(named), reference.FamiliarName(named))
}

// Read returns progress, after the next step if none is left over.
func (d *download) Read(p []byte) (int, error) {
	for d.text.Len() == 0 {
		if len(d.steps) == 0 {
			return 0, io.EOF
		}
		if err := d.e.faults.waitInStream(d.ctx, d.session); err != nil {
			return 0, err
		}
		step := d.steps[0]
		d.steps = d.steps[1:]
		if err := step(d); err != nil {
			return 0, err
		}
	}
	return d.text.Read(p)
}

// Close gives the pull up unless it is done.
func (d *download) Close() error {
	d.cancel()
	return nil
}
