// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"context"
	"io"
	"testing"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Engine is adapter.Engine, written out again because adapter's own tests use
// the fake; a test here keeps the two equal.
type Engine interface {
	ContainerCreate(ctx context.Context, config *container.Config, host *container.HostConfig, net *network.NetworkingConfig, platform *ocispec.Platform, name string) (container.CreateResponse, error)
	ContainerStart(ctx context.Context, id string, options container.StartOptions) error
	ContainerStop(ctx context.Context, id string, options container.StopOptions) error
	ContainerUpdate(ctx context.Context, id string, update container.UpdateConfig) (container.UpdateResponse, error)
	ContainerRemove(ctx context.Context, id string, options container.RemoveOptions) error
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	ContainerList(ctx context.Context, options container.ListOptions) ([]container.Summary, error)

	ImageList(ctx context.Context, options image.ListOptions) ([]image.Summary, error)
	ImageInspect(ctx context.Context, ref string, options ...client.ImageInspectOption) (image.InspectResponse, error)
	ImagePull(ctx context.Context, ref string, options image.PullOptions) (io.ReadCloser, error)
	ImageLoad(ctx context.Context, archive io.Reader, options ...client.ImageLoadOption) (image.LoadResponse, error)
	ImageRemove(ctx context.Context, ref string, options image.RemoveOptions) ([]image.DeleteResponse, error)

	Ping(ctx context.Context) (types.Ping, error)
	Info(ctx context.Context) (system.Info, error)
	DiskUsage(ctx context.Context, options types.DiskUsageOptions) (types.DiskUsage, error)
	Events(ctx context.Context, options events.ListOptions) (<-chan events.Message, <-chan error)
	NegotiateAPIVersion(ctx context.Context)
	ClientVersion() string
}

// Subject is an engine under test and the registry that it pulls from.
type Subject struct {
	Engine
	// Publish makes an image pullable until the test ends, and returns its
	// reference with a tag, and its digest. Serve does for a real engine.
	Publish func(t *testing.T, r Remote) (ref, digest string)
	// Busybox is the program that the containers run. StaticBusybox does for a
	// real engine; a fake may play it.
	Busybox []byte
}

// clauses are what an engine must do, from the plain to the rare.
var clauses = []struct {
	name  string
	check func(*bench)
}{
	{"SystemVersions", systemVersions},
	{"SystemInfo", systemInfo},
	{"SystemDiskUsage", systemDiskUsage},
	{"ContextCancelled", contextCancelled},
	{"ContextDeadline", contextDeadline},

	{"ContainerCreated", containerCreated},
	{"ContainerInheritsFromImage", containerInheritsFromImage},
	{"ContainerNames", containerNames},
	{"ContainerLabels", containerLabels},
	{"ContainerLookup", containerLookup},
	{"ContainerList", containerList},
	{"ContainerMissing", containerMissing},
	{"ContainerCreateRefused", containerCreateRefused},
	{"ContainerRemove", containerRemove},
	{"ContainerUpdate", containerUpdate},

	{"RunLifeCycle", runLifeCycle},
	{"RunRepeats", runRepeats},
	{"RunExitCode", runExitCode},
	{"RunCannotStart", runCannotStart},
	{"RunHostname", runHostname},

	{"JoinNetworkFiles", joinNetworkFiles},
	{"JoinAll", joinAll},
	{"JoinMissing", joinMissing},
	{"JoinStopped", joinStopped},

	{"EventsOfOneLife", eventsOfOneLife},
	{"EventsAndState", eventsAndState},
	{"EventsReplay", eventsReplay},
	{"EventsReplayDepth", eventsReplayDepth},
	{"EventsWhileOpening", eventsWhileOpening},
	{"EventsFilters", eventsFilters},
	{"EventsOfImages", eventsOfImages},
	{"EventsEnd", eventsEnd},

	{"ImageLoad", imageLoad},
	{"ImageLoadBroken", imageLoadBroken},
	{"ImageLoadMovesTag", imageLoadMovesTag},
	{"ImageMissing", imageMissing},
	{"ImageRemoveTags", imageRemoveTags},
	{"ImageRemoveByID", imageRemoveByID},
	{"ImageInUse", imageInUse},

	{"PullTag", pullTag},
	{"PullDigest", pullDigest},
	{"PullMissing", pullMissing},
	{"PullCredentials", pullCredentials},
	{"PullBrokenLayer", pullBrokenLayer},
	{"PullCancelled", pullCancelled},
}

// Run checks every clause, each on what open returns for it: a new engine, or
// the same again.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, c := range clauses {
		t.Run(c.name, func(t *testing.T) { c.check(newBench(t, open(t))) })
	}
}
