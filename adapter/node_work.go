// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/adapter/cgroup"
	"github.com/dockershimd/dockershimd/adapter/staging"
	"github.com/dockershimd/dockershimd/translate"
)

// Cgroups does what the engine has no words for in the control groups of
// containers. [NodeCgroups] is the one that is shipped.
type Cgroups interface {
	// Abilities are the sizes of huge pages that can be limited here, and the
	// controllers on the hierarchy of cgroup version 2.
	Abilities() (hugePages, unified []string, err error)
	// Apply sets limits of a process's group, all or none, and returns what they
	// were. driver is the engine's cgroup driver.
	Apply(ctx context.Context, pid int, limits cgroup.Limits, driver string) (before cgroup.Limits, err error)
	// Limits are those that the kernel holds; of the files of cgroup version 2
	// only the ones asked for.
	Limits(pid int, unified []string) (*cri.LinuxContainerResources, error)
	// Usage is what a process's group has used and uses.
	Usage(pid int) (*cgroup.Usage, error)
	// MemoryInUse is in bytes, without what the kernel can drop at any time.
	MemoryInUse(pid int) (uint64, error)

	// Keep, Kept, Forget and Retain remember the limits that containers should
	// have, so that they survive a kill of this daemon.
	Keep(id string, limits cgroup.Limits) error
	Kept(id string) (cgroup.Limits, error)
	Forget(id string) error
	Retain(known func(id string) bool) error
}

// Staging makes mounts on the node that the engine cannot make, for it to bind.
// *staging.Staging is the one that is shipped.
type Staging interface {
	Stage(key string, mounts []staging.Mount) (paths []string, err error)
	Remove(key string) error
	Retain(known func(key string) bool) error
}

var _ Staging = (*staging.Staging)(nil)

// forgetNodeWork frees what was made on the node for a container that is gone.
func (s *Server) forgetNodeWork(labels map[string]string, id string) error {
	var unstaged error
	if key := translate.StagingKey(labels); key != "" {
		unstaged = s.staging.Remove(key)
	}
	return errors.Join(unstaged, s.cgroups.Forget(id))
}

// retainNodeWork frees what was made for containers that went unseen, or that a
// killed daemon never came to create.
func (s *Server) retainNodeWork() {
	keys, ids := s.index.nodeWork()
	err := errors.Join(
		s.staging.Retain(func(key string) bool { return keys[key] || s.stagingNow.has(key) }),
		s.cgroups.Retain(func(id string) bool { return ids[id] }),
	)
	if err != nil {
		s.log.Error(err, "what was made on the node for containers that are gone stays; it is tried again at the next connection to the engine")
	}
}
