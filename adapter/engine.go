// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

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
	ExecEngine
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
	// ContainerAttach opens a stream to the process that the container was started
	// with. For a container that has ended it is to the process of the next start,
	// which may never come.
	ContainerAttach(ctx context.Context, id string, options container.AttachOptions) (types.HijackedResponse, error)
	ContainerResize(ctx context.Context, id string, options container.ResizeOptions) error
	// CopyFromContainer reads a file, or a tree of files, as a tar archive; the
	// container need not run. Of a symbolic link it tells the target.
	CopyFromContainer(ctx context.Context, id, path string) (io.ReadCloser, container.PathStat, error)
}

// ExecEngine runs further commands in containers. A command is created, then
// started by ContainerExecAttach; the engine forgets it some time after its end.
type ExecEngine interface {
	ContainerExecCreate(ctx context.Context, id string, options container.ExecOptions) (container.ExecCreateResponse, error)
	// ContainerExecAttach starts the command and opens a stream to it. What the
	// engine says against a start is lost in the error's text, and has no kind.
	ContainerExecAttach(ctx context.Context, execID string, options container.ExecAttachOptions) (types.HijackedResponse, error)
	ContainerExecInspect(ctx context.Context, execID string) (container.ExecInspect, error)
	// ContainerExecResize waits for the command to start, ten seconds at most.
	ContainerExecResize(ctx context.Context, execID string, options container.ResizeOptions) error
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
//
// On a unix socket the stream of an attach ends with the context of the call.
func Dial(endpoint string) (*client.Client, error) {
	options := []client.Opt{client.WithAPIVersionNegotiation(), client.FromEnv}
	if endpoint != "" {
		options = append(options, client.WithHost(endpoint))
	}
	host := cmp.Or(endpoint, os.Getenv(client.EnvOverrideHost), client.DefaultDockerHost)
	if path, ok := strings.CutPrefix(host, "unix://"); ok {
		options = append(options, client.WithDialContext(dialSocket(path)))
	}
	c, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("docker endpoint %q: %w", endpoint, err)
	}
	return c, nil
}

// dialTime bounds the wait for an engine whose queue of connections is full.
const dialTime = 30 * time.Second

// dialSocket dials for the client. To hijack a connection, the client names the
// network of its endpoint, and lets nothing end that connection, not even while
// it waits for an engine that hangs. For ordinary calls net/http says "tcp", and
// keeps the connection for the next call.
func dialSocket(path string) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTime}
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil && network == "unix" {
			context.AfterFunc(ctx, func() { conn.Close() })
		}
		return conn, err
	}
}

// unreachable tells whether a call failed because no engine answered.
func unreachable(err error) bool { return client.IsErrConnectionFailed(err) }
