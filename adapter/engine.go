// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Engine is every Docker Engine API call that the adapter makes. Docker's own
// client satisfies it as it is; internal/fakeengine is the other one.
type Engine interface {
	ContainerEngine
	ImageEngine
	SystemEngine
}

var _ Engine = (*client.Client)(nil)

// ContainerEngine creates, changes, reads and removes containers.
type ContainerEngine interface {
	ContainerCreate(ctx context.Context, config *container.Config, host *container.HostConfig, net *network.NetworkingConfig, platform *ocispec.Platform, name string) (container.CreateResponse, error)
	ContainerStart(ctx context.Context, id string, options container.StartOptions) error
	ContainerStop(ctx context.Context, id string, options container.StopOptions) error
	ContainerUpdate(ctx context.Context, id string, update container.UpdateConfig) (container.UpdateResponse, error)
	ContainerRemove(ctx context.Context, id string, options container.RemoveOptions) error
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	ContainerList(ctx context.Context, options container.ListOptions) ([]container.Summary, error)
}

// ImageEngine pulls, loads, reads and removes images.
type ImageEngine interface {
	ImageList(ctx context.Context, options image.ListOptions) ([]image.Summary, error)
	ImageInspect(ctx context.Context, ref string, options ...client.ImageInspectOption) (image.InspectResponse, error)
	ImagePull(ctx context.Context, ref string, options image.PullOptions) (io.ReadCloser, error)
	ImageLoad(ctx context.Context, archive io.Reader, options ...client.ImageLoadOption) (image.LoadResponse, error)
	ImageRemove(ctx context.Context, ref string, options image.RemoveOptions) ([]image.DeleteResponse, error)
}

// SystemEngine tells what the engine is and what happens in it.
type SystemEngine interface {
	Ping(ctx context.Context) (types.Ping, error)
	Info(ctx context.Context) (system.Info, error)
	DiskUsage(ctx context.Context, options types.DiskUsageOptions) (types.DiskUsage, error)
	Events(ctx context.Context, options events.ListOptions) (<-chan events.Message, <-chan error)
	// NegotiateAPIVersion asks the engine again which API version to speak, since
	// one that was restarted may be older now. The client only ever steps down: to
	// a newer engine it keeps speaking the older version.
	NegotiateAPIVersion(ctx context.Context)
	// ClientVersion is the API version in use, such as "1.41".
	ClientVersion() string
}

// Dial prepares a client for the engine at endpoint, such as
// unix:///run/docker.sock; an empty endpoint means $DOCKER_HOST and its
// companions, as for the docker command. It does not connect: an engine that
// is not up yet is no error.
func Dial(endpoint string) (*client.Client, error) {
	options := []client.Opt{client.WithAPIVersionNegotiation(), client.FromEnv}
	if endpoint != "" {
		options = append(options, client.WithHost(endpoint))
	}
	c, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("docker endpoint %q: %w", endpoint, err)
	}
	return c, nil
}

// unreachable tells whether a call failed because no engine answered.
func unreachable(err error) bool { return client.IsErrConnectionFailed(err) }
