// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"slices"
	"strings"

	"github.com/docker/docker/api/types/events"
)

// What follows changes containers without being counted as calls, also while
// the engine is down: somebody else's doing.

// Exit ends a running container's process with the exit code.
func (e *Engine) Exit(id string, code int) {
	e.changeRunning(id, func(c *entry) { e.exit(c, code) })
}

// OOMKill ends a running container as the kernel does when memory runs out.
func (e *Engine) OOMKill(id string) {
	e.changeRunning(id, func(c *entry) {
		c.State.OOMKilled = true
		e.containerEvent(c, events.ActionOOM)
		e.exit(c, 137)
	})
}

// StopBehind is somebody's "docker stop" of a running container.
func (e *Engine) StopBehind(id string) { e.changeRunning(id, e.stop) }

// RemoveBehind is somebody's "docker rm --force".
func (e *Engine) RemoveBehind(id string) { e.change(id, e.remove) }

// RenameBehind is somebody's "docker rename".
func (e *Engine) RenameBehind(id, name string) {
	e.change(id, func(c *entry) {
		old := c.Name
		c.Name = "/" + name
		e.containerEvent(c, events.ActionRename, "oldName", old)
	})
}

// Reload is a change of the engine's configuration, told by an event.
func (e *Engine) Reload() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.event(events.DaemonEventType, events.ActionReload, e.info.ID, map[string]string{"name": e.info.Name})
}

// Leftovers are the names of all containers there are, in order.
func (e *Engine) Leftovers() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := []string{}
	for _, c := range e.containers {
		names = append(names, strings.TrimPrefix(c.Name, "/"))
	}
	slices.Sort(names)
	return names
}

func (e *Engine) change(id string, how func(*entry)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		panic("fakeengine: " + err.Error())
	}
	how(c)
}

func (e *Engine) changeRunning(id string, how func(*entry)) {
	e.change(id, func(c *entry) {
		if !c.State.Running {
			panic("fakeengine: " + c.Name + " is not running")
		}
		how(c)
	})
}
