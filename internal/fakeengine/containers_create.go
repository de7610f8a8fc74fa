// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// validName is dockerd's rule: two characters at least.
var validName = regexp.MustCompile(`^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// ContainerCreate ignores net and platform: no container joins a network.
func (e *Engine) ContainerCreate(ctx context.Context, config *container.Config, host *container.HostConfig, net *network.NetworkingConfig, _ *ocispec.Platform, name string) (container.CreateResponse, error) {
	request := wire(container.CreateRequest{Config: config, HostConfig: host, NetworkingConfig: net})
	return call(ctx, e, Call{"ContainerCreate", name, wire(request)}, func() (container.CreateResponse, error) {
		c, err := e.newEntry(request, name)
		if err != nil {
			return container.CreateResponse{}, err
		}
		e.containers = append(e.containers, c)
		e.containerEvent(c, events.ActionCreate)
		return container.CreateResponse{ID: c.ID, Warnings: []string{}}, nil
	})
}

// newEntry checks in the order of dockerd: which error wins is part of what
// callers see.
func (e *Engine) newEntry(request container.CreateRequest, name string) (*entry, error) {
	if request.Config == nil {
		return nil, invalid("config cannot be empty in order to create a container")
	}
	if request.HostConfig == nil {
		request.HostConfig = &container.HostConfig{}
	}
	config, host := request.Config, request.HostConfig
	if err := checkMemory(host.Memory); err != nil {
		return nil, err
	}
	image, err := e.findImage(config.Image)
	if err != nil {
		return nil, err
	}
	if err := e.checkDonors(host); err != nil {
		return nil, err
	}
	id := randomID()
	if name == "" {
		name = "unnamed_" + id[:12]
	}
	if err := e.checkName(name); err != nil {
		return nil, err
	}
	completeConfig(config, image.config, id, host)
	completeHost(host)
	return e.created(id, name, image.id, config, host), nil
}

func (e *Engine) checkName(name string) error {
	if !validName.MatchString(name) {
		return invalid("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	name = "/" + strings.TrimPrefix(name, "/")
	for _, c := range e.containers {
		if c.Name == name {
			return conflict("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", name, c.ID)
		}
	}
	return nil
}

// completeConfig adds what a container inherits from its image, the labels too.
func completeConfig(config *container.Config, image ocispec.ImageConfig, id string, host *container.HostConfig) {
	if len(config.Entrypoint) == 0 {
		if len(config.Cmd) == 0 {
			config.Cmd = image.Cmd
		}
		config.Entrypoint = image.Entrypoint
	}
	if config.User == "" {
		config.User = image.User
	}
	if config.WorkingDir == "" {
		config.WorkingDir = image.WorkingDir
	}
	if config.StopSignal == "" {
		config.StopSignal = image.StopSignal
	}
	if config.Hostname == "" && !host.NetworkMode.IsContainer() {
		config.Hostname = id[:12]
	}
	config.Env = mergeEnv(config.Env, image.Env)
	config.Labels = mergeLabels(config.Labels, image.Labels)
}

// mergeEnv appends the image's variables that the container does not set.
func mergeEnv(own, inherited []string) []string {
	for _, variable := range inherited {
		key, _, _ := strings.Cut(variable, "=")
		if !slices.ContainsFunc(own, func(v string) bool { return strings.HasPrefix(v, key+"=") }) {
			own = append(own, variable)
		}
	}
	return own
}

func mergeLabels(own, inherited map[string]string) map[string]string {
	if own == nil {
		own = map[string]string{}
	}
	for key, value := range inherited {
		if _, set := own[key]; !set {
			own[key] = value
		}
	}
	return own
}

// completeHost fills in the defaults that dockerd shows in inspect and that
// somebody might read back; not all of them.
func completeHost(host *container.HostConfig) {
	if host.Memory > 0 && host.MemorySwap == 0 {
		host.MemorySwap = 2 * host.Memory
	}
	if host.RestartPolicy.Name == "" {
		host.RestartPolicy.Name = container.RestartPolicyDisabled
	}
	if host.LogConfig.Type == "" {
		host.LogConfig.Type = "json-file"
	}
	if host.IpcMode == "" {
		host.IpcMode = container.IPCModePrivate
	}
	if host.Runtime == "" {
		host.Runtime = "runc"
	}
}

// mountPoints are the mounts that were asked for; an image's volumes are unknown here.
func mountPoints(host *container.HostConfig) []container.MountPoint {
	out := []container.MountPoint{}
	for _, m := range host.Mounts {
		point := container.MountPoint{Type: m.Type, Source: m.Source, Destination: m.Target, RW: !m.ReadOnly}
		if m.BindOptions != nil {
			point.Propagation = m.BindOptions.Propagation
		}
		out = append(out, point)
	}
	return out
}

// created is a container that has not run yet.
func (e *Engine) created(id, name, imageID string, config *container.Config, host *container.HostConfig) *entry {
	command := append(slices.Clone([]string(config.Entrypoint)), config.Cmd...)
	base := &container.ContainerJSONBase{
		ID:         id,
		Created:    now(),
		Name:       "/" + strings.TrimPrefix(name, "/"),
		Image:      imageID,
		Driver:     e.info.Driver,
		Platform:   "linux",
		HostConfig: host,
		State:      &container.State{Status: container.StateCreated, StartedAt: never, FinishedAt: never},
	}
	if len(command) > 0 {
		base.Path, base.Args = command[0], command[1:]
	}
	return &entry{task: newTask(), InspectResponse: container.InspectResponse{
		ContainerJSONBase: base,
		Config:            config,
		Mounts:            mountPoints(host),
		NetworkSettings:   &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{}},
	}}
}
