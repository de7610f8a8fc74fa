// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/versions"
)

// The API version in use is the engine's or the newest that the client speaks,
// whichever is older.
func systemVersions(b *bench) {
	ping, err := b.Ping(b.Context())
	b.must("ping", err)
	b.equal("system", ping.OSType, "linux")
	if versions.LessThan(ping.APIVersion, "1.41") {
		b.Errorf("API %s, want 1.41 at least", ping.APIVersion)
	}
	want := ping.APIVersion
	if versions.GreaterThan(want, api.DefaultVersion) {
		want = api.DefaultVersion
	}
	b.equal("version in use", b.ClientVersion(), want)
	b.NegotiateAPIVersion(b.Context())
	b.equal("version after negotiation", b.ClientVersion(), want)
}

// What the adapter takes from info is there.
func systemInfo(b *bench) {
	info, err := b.Info(b.Context())
	b.must("info", err)
	b.equal("system", info.OSType, "linux")
	if info.ServerVersion == "" || info.Architecture == "" {
		b.Errorf("version %q, architecture %q", info.ServerVersion, info.Architecture)
	}
	if info.CgroupDriver != "cgroupfs" && info.CgroupDriver != "systemd" {
		b.Errorf("cgroup driver %q", info.CgroupDriver)
	}
	if info.CgroupVersion != "1" && info.CgroupVersion != "2" {
		b.Errorf("cgroup version %q", info.CgroupVersion)
	}
	if !strings.HasPrefix(info.DockerRootDir, "/") || info.Driver == "" || info.ID == "" {
		b.Errorf("root %q, storage driver %q, id %q", info.DockerRootDir, info.Driver, info.ID)
	}
	if _, ok := info.Runtimes[info.DefaultRuntime]; !ok {
		b.Errorf("default runtime %q is not among %v", info.DefaultRuntime, info.Runtimes)
	}
	if !slices.ContainsFunc(info.SecurityOptions, func(o string) bool { return strings.HasPrefix(o, "name=seccomp") }) {
		b.Errorf("no seccomp in %q", info.SecurityOptions)
	}
}

// Disk usage lists images and containers; layers count once.
func systemDiskUsage(b *bench) {
	id := b.create(b.config(idle...), alone(), b.name("usage"))
	for _, objects := range [][]types.DiskUsageObject{nil, {types.ImageObject, types.ContainerObject}} {
		usage, err := b.DiskUsage(b.Context(), types.DiskUsageOptions{Types: objects})
		b.must("disk usage", err)
		size := b.inspectImage(b.image).Size
		if usage.LayersSize < size {
			b.Errorf("layers of %d bytes, want the %d of busybox at least", usage.LayersSize, size)
		}
		if !slices.ContainsFunc(usage.Images, func(i *image.Summary) bool { return i.ID == b.image && i.Size == size }) {
			b.Error("busybox is not in the disk usage")
		}
		if !slices.ContainsFunc(usage.Containers, func(c *container.Summary) bool { return c.ID == id }) {
			b.Error("the container is not in the disk usage")
		}
	}
}

// everyCall makes each call with ctx, in a way that would succeed if there were a
// command with the container's id.
func (b *bench) everyCall(ctx context.Context, id string) map[string]error {
	errs := map[string]error{
		"start":  b.ContainerStart(ctx, id, container.StartOptions{}),
		"stop":   b.ContainerStop(ctx, id, container.StopOptions{}),
		"remove": b.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}),
	}
	_, errs["create"] = b.ContainerCreate(ctx, b.config(idle...), alone(), nil, nil, b.name("cancelled"))
	_, errs["inspect"] = b.ContainerInspect(ctx, id)
	_, errs["list"] = b.ContainerList(ctx, container.ListOptions{})
	_, errs["update"] = b.ContainerUpdate(ctx, id, container.UpdateConfig{Resources: container.Resources{CPUShares: 100}})
	errs["resize"] = b.ContainerResize(ctx, id, container.ResizeOptions{Height: 24, Width: 80})
	_, _, errs["copy"] = b.CopyFromContainer(ctx, id, "/bin/busybox")
	_, errs["attach"] = b.ContainerAttach(ctx, id, container.AttachOptions{Stream: true})
	_, errs["exec create"] = b.ContainerExecCreate(ctx, id, everything(idle))
	_, errs["exec attach"] = b.ContainerExecAttach(ctx, id, container.ExecAttachOptions{})
	_, errs["exec inspect"] = b.ContainerExecInspect(ctx, id)
	errs["exec resize"] = b.ContainerExecResize(ctx, id, container.ResizeOptions{Height: 24, Width: 80})
	_, errs["image inspect"] = b.ImageInspect(ctx, b.image)
	_, errs["image list"] = b.ImageList(ctx, image.ListOptions{})
	_, errs["image load"] = b.ImageLoad(ctx, smallImage(b).archive(b))
	_, errs["image pull"] = b.ImagePull(ctx, "127.0.0.1:1/x:1", image.PullOptions{})
	_, errs["image remove"] = b.ImageRemove(ctx, b.image, image.RemoveOptions{})
	_, errs["ping"] = b.Ping(ctx)
	_, errs["info"] = b.Info(ctx)
	_, errs["disk usage"] = b.DiskUsage(ctx, types.DiskUsageOptions{})
	return errs
}

// A call whose context is over returns its error and has no effect.
func contextCancelled(b *bench) {
	id := b.create(b.config(idle...), alone(), b.name("context"))
	before := b.inspect(id)
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	for call, err := range b.everyCall(ctx, id) {
		b.wantKind(call, err, cancelled)
	}
	b.equal("container", b.inspect(id), before)
	b.equal("containers", len(b.list(container.ListOptions{All: true}, "label", label+"="+b.token)), 1)
}

// A call past its deadline says so.
func contextDeadline(b *bench) {
	ctx, cancel := context.WithDeadline(b.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for call, err := range b.everyCall(ctx, strings.Repeat("0", 64)) {
		b.wantKind(call, err, expired)
	}
}
