// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// bench is one clause at work on one engine.
type bench struct {
	*testing.T
	Subject
	ctx   context.Context
	token string // in the names and labels of all that the clause creates
	// busybox is the image of the containers, and image its id.
	busybox testImage
	image   string
}

// Context ends when the clause does, or has taken too long.
func (b *bench) Context() context.Context { return b.ctx }

// clauseTime is plenty for the slowest clause on a busy machine.
const clauseTime = 3 * time.Minute

// label is the key of the label that every container of a clause has; its value
// is the token.
const label = "enginetest"

// Commands of the busybox image.
var (
	idle    = []string{"/bin/busybox", "sleep", "1000"}
	missing = []string{"/no-such-command"}
)

// exits ends with the code.
func exits(code int) []string {
	return []string{"/bin/busybox", "sh", "-c", fmt.Sprintf("exit %d", code)}
}

// finds exits with 0 if a line of the file is the text, and with 1 otherwise.
func finds(text, file string) []string {
	return []string{"/bin/busybox", "grep", "-Fqx", text, file}
}

func newBench(t *testing.T, subject Subject) *bench {
	ctx, cancel := context.WithTimeout(t.Context(), clauseTime)
	t.Cleanup(cancel)
	b := &bench{T: t, Subject: subject, ctx: ctx, token: strings.ToLower(rand.Text()[:10])}
	b.busybox = busyboxImage(t, subject.Busybox)
	b.image = b.busybox.id()
	if _, err := b.ImageInspect(ctx, b.image); errdefs.IsNotFound(err) {
		b.must("load busybox", b.load(b.busybox.archive(t, "enginetest/busybox:1")))
	}
	return b
}

// name is one that nothing else has.
func (b *bench) name(suffix string) string { return "enginetest-" + b.token + "-" + suffix }

// config is for a container of the busybox image.
func (b *bench) config(command ...string) *container.Config {
	return &container.Config{Image: b.image, Cmd: command, Labels: map[string]string{label: b.token}}
}

// alone is the network of a sandbox: a namespace without links.
func alone() *container.HostConfig { return &container.HostConfig{NetworkMode: "none"} }

// create makes a container that is removed when the clause ends.
func (b *bench) create(config *container.Config, host *container.HostConfig, name string) string {
	b.Helper()
	response, err := b.ContainerCreate(b.Context(), config, host, nil, nil, name)
	b.must("create "+name, err)
	b.Cleanup(func() { b.discard(response.ID) })
	return response.ID
}

func (b *bench) discard(id string) {
	err := b.ContainerRemove(context.WithoutCancel(b.Context()), id, container.RemoveOptions{Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		b.Errorf("clean up: %v", err)
	}
}

func (b *bench) start(id string) {
	b.Helper()
	b.must("start", b.ContainerStart(b.Context(), id, container.StartOptions{}))
}

// stop does not wait: none of the commands heeds SIGTERM.
func (b *bench) stop(id string) {
	b.Helper()
	now := 0
	b.must("stop", b.ContainerStop(b.Context(), id, container.StopOptions{Timeout: &now}))
}

func (b *bench) remove(id string) {
	b.Helper()
	b.must("remove", b.ContainerRemove(b.Context(), id, container.RemoveOptions{Force: true}))
}

// running is a container that was started.
func (b *bench) running(host *container.HostConfig, name string, command ...string) string {
	b.Helper()
	id := b.create(b.config(command...), host, b.name(name))
	b.start(id)
	return id
}

func (b *bench) inspect(id string) container.InspectResponse {
	b.Helper()
	c, err := b.ContainerInspect(b.Context(), id)
	b.must("inspect", err)
	return c
}

// exitCode waits for the end of a container that was started after since.
func (b *bench) exitCode(id, since string) int {
	b.Helper()
	b.watch(since, "container", id).until("die")
	return b.inspect(id).State.ExitCode
}

// load is ImageLoad with the error that may come in its stream.
func (b *bench) load(archive io.Reader) error {
	response, err := b.ImageLoad(b.Context(), archive)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = messages(response.Body)
	return err
}

// pull is ImagePull with the error that may come in its stream. It returns the
// statuses of the stream.
func (b *bench) pull(ref string, options image.PullOptions) ([]string, error) {
	body, err := b.ImagePull(b.Context(), ref, options)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return messages(body)
}

// errInStream marks an error that came after the call had succeeded.
var errInStream = errors.New("in the stream")

// messages reads a stream of progress to its end.
func messages(stream io.Reader) ([]string, error) {
	var statuses []string
	for decoder := json.NewDecoder(stream); ; {
		var m struct{ Status, Stream, Error string }
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return statuses, nil
		} else if err != nil {
			return statuses, err
		}
		if m.Error != "" {
			return statuses, fmt.Errorf("%w: %s", errInStream, m.Error)
		}
		statuses = append(statuses, m.Status+m.Stream)
	}
}

// must ends the clause at an error.
func (b *bench) must(what string, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

// wantKind checks for an error of one of the kinds, as kindOf names them.
func (b *bench) wantKind(what string, err error, kinds ...string) {
	b.Helper()
	if kind := kindOf(err); !slices.Contains(kinds, kind) {
		b.Errorf("%s: an error of kind %q (%v), want %q", what, kind, err, kinds)
	}
}

// The kinds of errors.
const (
	none         = "none"
	notFound     = "not found"
	conflict     = "conflict"
	invalid      = "invalid argument"
	internal     = "internal"
	unauthorized = "unauthorized"
	cancelled    = "cancelled"
	expired      = "deadline exceeded"
	unreachable  = "connection failed"
	inStream     = "in stream"
	other        = "other"
)

// kindOf sorts an error the way the adapter does.
func kindOf(err error) string {
	switch {
	case err == nil:
		return none
	case errors.Is(err, context.Canceled):
		return cancelled
	case errors.Is(err, context.DeadlineExceeded):
		return expired
	case errors.Is(err, errInStream):
		return inStream
	case client.IsErrConnectionFailed(err):
		return unreachable
	case errdefs.IsNotFound(err):
		return notFound
	case errdefs.IsConflict(err):
		return conflict
	case errdefs.IsInvalidArgument(err):
		return invalid
	case errdefs.IsUnauthorized(err):
		return unauthorized
	case errdefs.IsInternal(err):
		return internal
	default:
		return other
	}
}

// equal compares deeply; nil and empty slices differ.
func (b *bench) equal(what string, got, want any) {
	b.Helper()
	if !reflect.DeepEqual(got, want) {
		b.Errorf("%s: %v, want %v", what, got, want)
	}
}

// moment reads a time of inspect's; zero stands for what has not happened.
func (b *bench) moment(what, text string) time.Time {
	b.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	b.must(what, err)
	return at
}
