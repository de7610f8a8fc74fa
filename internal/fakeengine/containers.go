// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
)

// entry is a container: what inspect shows of it, and its process, or the next
// one if it does not run.
type entry struct {
	container.InspectResponse
	task *task
}

// ContainerInspect finds by id, by name, and by a prefix of one id.
func (e *Engine) ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error) {
	return call(ctx, e, Call{"ContainerInspect", id, nil}, func() (container.InspectResponse, error) {
		c, err := e.find(id)
		if err != nil {
			return container.InspectResponse{}, err
		}
		return wire(c.InspectResponse), nil
	})
}

// smallestMemory is the lowest memory limit that dockerd accepts, in bytes.
const smallestMemory = 6 << 20

func checkMemory(limit int64) error {
	if limit != 0 && limit < smallestMemory {
		return invalid("Minimum memory limit allowed is 6MB")
	}
	return nil
}

// ContainerUpdate takes over the resources that are not zero.
func (e *Engine) ContainerUpdate(ctx context.Context, id string, update container.UpdateConfig) (container.UpdateResponse, error) {
	return call(ctx, e, Call{"ContainerUpdate", id, update}, func() (container.UpdateResponse, error) {
		c, err := e.find(id)
		if err != nil {
			return container.UpdateResponse{}, err
		}
		if err := checkMemory(update.Memory); err != nil {
			return container.UpdateResponse{}, err
		}
		if update.Memory > c.HostConfig.MemorySwap && update.MemorySwap == 0 {
			return container.UpdateResponse{}, conflict("Cannot update container %s: Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time", c.ID)
		}
		takeOver(&c.HostConfig.Resources, wire(update.Resources))
		e.containerEvent(c, events.ActionUpdate)
		return container.UpdateResponse{Warnings: []string{}}, nil
	})
}

func takeOver(held *container.Resources, update container.Resources) {
	replace(&held.CPUShares, update.CPUShares)
	replace(&held.CPUPeriod, update.CPUPeriod)
	replace(&held.CPUQuota, update.CPUQuota)
	replace(&held.NanoCPUs, update.NanoCPUs)
	replace(&held.CpusetCpus, update.CpusetCpus)
	replace(&held.CpusetMems, update.CpusetMems)
	replace(&held.Memory, update.Memory)
	replace(&held.MemorySwap, update.MemorySwap)
	replace(&held.MemoryReservation, update.MemoryReservation)
	replace(&held.BlkioWeight, update.BlkioWeight)
	replace(&held.PidsLimit, update.PidsLimit)
}

func replace[T comparable](held *T, update T) {
	var zero T
	if update != zero {
		*held = update
	}
}

// ContainerRemove forgets a container; a running one only with Force.
func (e *Engine) ContainerRemove(ctx context.Context, id string, options container.RemoveOptions) error {
	return act(ctx, e, Call{"ContainerRemove", id, options}, func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		if c.State.Running && !options.Force {
			return conflict("cannot remove container %q: container is running: stop the container before removing or force remove", id)
		}
		e.remove(c)
		return nil
	})
}

func (e *Engine) remove(c *entry) {
	if c.State.Running {
		e.kill(c, 9)
		e.exit(c, 137)
	}
	e.containers = slices.DeleteFunc(e.containers, func(other *entry) bool { return other == c })
	e.removeFiles(c)
	e.containerEvent(c, events.ActionDestroy)
}

func (e *Engine) kill(c *entry, signal int) {
	e.containerEvent(c, events.ActionKill, "signal", strconv.Itoa(signal))
}

// find looks a container up like dockerd: by id, by name, by prefix of an id.
func (e *Engine) find(id string) (*entry, error) {
	if strings.TrimSpace(id) == "" {
		return nil, invalid("invalid container name or ID: value is empty")
	}
	name := "/" + strings.TrimPrefix(id, "/")
	var found []*entry
	for _, c := range e.containers {
		if c.ID == id || c.Name == name {
			return c, nil
		}
		if strings.HasPrefix(c.ID, id) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return nil, notFound("No such container: %s", id)
	case 1:
		return found[0], nil
	default:
		return nil, invalid("multiple IDs found with provided prefix: %s", id)
	}
}
