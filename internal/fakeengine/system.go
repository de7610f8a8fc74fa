// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/docker/docker/api"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"
)

// SetInfo lets change alter what Info answers.
func (e *Engine) SetInfo(change func(*system.Info)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.info)
}

// SetAPIVersion sets the newest API version that the engine speaks, such as
// "1.41". A client that has agreed on another one stays with that.
func (e *Engine) SetAPIVersion(version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.apiVersion = version
}

// Ping tells the API version.
func (e *Engine) Ping(ctx context.Context) (types.Ping, error) {
	return call(ctx, e, Call{"Ping", "", nil}, func() (types.Ping, error) {
		return types.Ping{APIVersion: e.apiVersion, OSType: "linux"}, nil
	})
}

// Info answers what SetInfo made of the defaults, and the numbers of containers
// and images.
func (e *Engine) Info(ctx context.Context) (system.Info, error) {
	return call(ctx, e, Call{"Info", "", nil}, func() (system.Info, error) {
		info := wire(e.info)
		info.Images = len(e.images)
		info.Containers = len(e.containers)
		for _, c := range e.containers {
			if c.State.Running {
				info.ContainersRunning++
			} else {
				info.ContainersStopped++
			}
		}
		return info, nil
	})
}

// DiskUsage counts each image's size once; containers write nothing.
func (e *Engine) DiskUsage(ctx context.Context, options types.DiskUsageOptions) (types.DiskUsage, error) {
	return call(ctx, e, Call{"DiskUsage", "", options}, func() (types.DiskUsage, error) {
		var usage types.DiskUsage
		if asked(options, types.ImageObject) {
			usage.Images = []*image.Summary{}
			for _, i := range e.images {
				s := wire(e.imageSummary(i))
				usage.Images = append(usage.Images, &s)
				usage.LayersSize += i.size
			}
		}
		if asked(options, types.ContainerObject) {
			usage.Containers = []*container.Summary{}
			for _, c := range e.containers {
				s := wire(e.summary(c))
				usage.Containers = append(usage.Containers, &s)
			}
		}
		return usage, nil
	})
}

// asked is true for an object in Types; no types stand for all.
func asked(options types.DiskUsageOptions, object types.DiskUsageObject) bool {
	for _, t := range options.Types {
		if t == object {
			return true
		}
	}
	return len(options.Types) == 0
}

// NegotiateAPIVersion agrees on the engine's version, if it is not newer than
// the one in use: like Docker's client, it only ever steps down.
func (e *Engine) NegotiateAPIVersion(ctx context.Context) {
	// The client swallows the error: it stays with the version it had.
	_ = act(ctx, e, Call{"NegotiateAPIVersion", "", nil}, func() error {
		if versions.LessThan(e.apiVersion, e.negotiated) {
			e.negotiated = e.apiVersion
		}
		return nil
	})
}

// ClientVersion is the newest that the client speaks until the first call.
func (e *Engine) ClientVersion() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.negotiated == "" {
		return api.DefaultVersion
	}
	return e.negotiated
}

// negotiate is what the client does once, before its first call.
func (e *Engine) negotiate() {
	if e.negotiated != "" {
		return
	}
	e.negotiated = api.DefaultVersion
	if versions.LessThan(e.apiVersion, e.negotiated) {
		e.negotiated = e.apiVersion
	}
}

// knowsConsoleSize tells whether a command can be given the size of its terminal
// before it starts.
func knowsConsoleSize(version string) bool { return versions.GreaterThanOrEqualTo(version, "1.42") }

func defaultInfo(dir string) system.Info {
	return system.Info{
		ID:              "fake",
		Name:            "node",
		Driver:          "overlay2",
		CgroupDriver:    "cgroupfs",
		CgroupVersion:   "2",
		LoggingDriver:   "json-file",
		OSType:          "linux",
		Architecture:    "x86_64",
		KernelVersion:   "6.12.0",
		ServerVersion:   "28.5.2",
		DockerRootDir:   dir,
		DefaultRuntime:  "runc",
		Runtimes:        map[string]system.RuntimeWithStatus{"runc": {Runtime: system.Runtime{Path: "runc"}}},
		SecurityOptions: []string{"name=seccomp,profile=builtin"},
		MemoryLimit:     true,
		SwapLimit:       true,
		NCPU:            2,
		MemTotal:        4 << 30,
	}
}

// randomID is 64 hexadecimal digits, as containers and layers have.
func randomID() string {
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}
