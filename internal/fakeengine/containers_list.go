// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// ContainerList lists the newest first. It honours All and the filters label,
// name, id and status, and refuses others.
func (e *Engine) ContainerList(ctx context.Context, options container.ListOptions) ([]container.Summary, error) {
	return call(ctx, e, Call{"ContainerList", "", options}, func() ([]container.Summary, error) {
		if err := checkListFilters(options.Filters); err != nil {
			return nil, err
		}
		all := options.All || options.Filters.Contains("status")
		list := []container.Summary{}
		for i := len(e.containers) - 1; i >= 0; i-- {
			c := e.containers[i]
			if (all || c.State.Running) && listed(c, options.Filters) {
				list = append(list, wire(e.summary(c)))
			}
		}
		return list, nil
	})
}

func checkListFilters(given filters.Args) error {
	if err := onlyFilters(given, "label", "name", "id", "status"); err != nil {
		return err
	}
	for _, status := range given.Get("status") {
		if err := container.ValidateContainerState(status); err != nil {
			return invalid("invalid filter 'status=%s'", status)
		}
	}
	return nil
}

func listed(c *entry, wanted filters.Args) bool {
	name := strings.TrimPrefix(c.Name, "/")
	return wanted.MatchKVList("label", c.Config.Labels) &&
		wanted.ExactMatch("status", c.State.Status) &&
		wanted.FuzzyMatch("id", c.ID) &&
		(wanted.Match("name", name) || wanted.Match("name", c.Name))
}

func (e *Engine) summary(c *entry) container.Summary {
	created, err := time.Parse(time.RFC3339Nano, c.Created)
	if err != nil {
		panic("fakeengine: " + err.Error())
	}
	s := container.Summary{
		ID:      c.ID,
		Names:   []string{c.Name},
		Image:   c.Config.Image,
		ImageID: c.Image,
		Command: strings.Join(append([]string{c.Path}, c.Args...), " "),
		Created: created.Unix(),
		Ports:   []container.Port{},
		Labels:  c.Config.Labels,
		State:   c.State.Status,
		Status:  statusText(c.State),
		Mounts:  c.Mounts,
	}
	s.HostConfig.NetworkMode = string(c.HostConfig.NetworkMode)
	return s
}

// statusText is meant for people, and so roughly what dockerd writes.
func statusText(state *container.State) string {
	switch state.Status {
	case container.StateRunning:
		return "Up Less than a second"
	case container.StateExited:
		return fmt.Sprintf("Exited (%d) Less than a second ago", state.ExitCode)
	default:
		return "Created"
	}
}
