// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"regexp"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/versions"
)

// Facts is what translation must know about the node. The zero value is a node
// whose engine can do nothing optional.
type Facts struct {
	// APIVersion is the negotiated Engine API version, such as "1.41".
	APIVersion string
	// EngineVersion is for messages, such as "20.10.24".
	EngineVersion string
	// CgroupDriver is "cgroupfs" or "systemd", as the engine reports it.
	CgroupDriver string
	// CgroupVersion is 1 or 2.
	CgroupVersion int
	// Runtimes are the OCI runtimes that the engine has configured, by name.
	Runtimes map[string]RuntimeFeatures
	// OOMScoreFloor is the lowest OOM score adjustment that the engine may set;
	// -1000 means any.
	OOMScoreFloor int
	// AppArmor and SELinux tell whether the running kernel enforces them.
	AppArmor, SELinux bool
	// CDI tells whether the engine itself finds devices by their CDI names.
	CDI bool
	// HugePages are the sizes of huge pages that the kernel can limit, such as
	// "2MB"; nil where it has none, or no cgroup controller for them.
	HugePages []string
	// UnifiedControllers are those on the node's hierarchy of cgroup version 2. On
	// nodes of version 1 there may be a few as well, or none.
	UnifiedControllers []string
}

// RuntimeFeatures is what an OCI runtime says of itself.
type RuntimeFeatures struct {
	// RecursiveReadOnly: the runtime knows the mount option rro.
	RecursiveReadOnly bool
}

// Ability is something that only newer engines can do.
type Ability int

// The abilities that requests may depend on.
const (
	// StopSignalOption: a stop request may name its signal.
	StopSignalOption Ability = iota
	// ShimRuntimes: a runtime may be named by its containerd shim.
	ShimRuntimes
	// ReadOnlyModes: a bind mount says whether read-only includes submounts.
	ReadOnlyModes
	// ImageMounts: an image may be mounted.
	ImageMounts
)

// abilities names the API version that brought each ability, and the engine
// that first spoke it (the Engine API's version history).
var abilities = map[Ability]struct{ name, api, engine string }{
	StopSignalOption: {"a signal in the stop request", "1.42", "23.0"},
	ShimRuntimes:     {"runtimes named by their containerd shim", "1.42", "23.0"},
	ReadOnlyModes:    {"recursive read-only mounts", "1.44", "25.0"},
	ImageMounts:      {"mounts of images", "1.48", "28.0"},
}

// Can tells whether the engine has the ability.
func (f Facts) Can(a Ability) bool {
	return f.APIVersion != "" && versions.GreaterThanOrEqualTo(f.APIVersion, abilities[a].api)
}

// Require returns a FailedPrecondition that names the engine needed when the
// ability is missing.
func (f Facts) Require(a Ability) error {
	if f.Can(a) {
		return nil
	}
	row := abilities[a]
	return fmt.Errorf("%s: needs Docker Engine %s (API %s) or newer, this engine is %s (API %s): %w",
		row.name, row.engine, row.api, f.EngineVersion, f.APIVersion, errdefs.ErrFailedPrecondition)
}

// shimName is what dockerd accepts as a runtime that is not in its
// configuration: the name of a containerd shim.
var shimName = regexp.MustCompile(`^io\.containerd\.[a-z0-9-]+\.v[0-9]+$`)

// Runtime is the engine's runtime for a CRI runtime handler. Both "" and
// "docker" mean the engine's default, which is written "".
func (f Facts) Runtime(handler string) (string, error) {
	if handler == "" || handler == "docker" {
		return "", nil
	}
	if _, ok := f.Runtimes[handler]; ok {
		return handler, nil
	}
	if shimName.MatchString(handler) {
		if err := f.Require(ShimRuntimes); err != nil {
			return "", fmt.Errorf("runtime_handler %q: %w", handler, err)
		}
		return handler, nil
	}
	return "", fmt.Errorf("runtime_handler %q: the engine has no such runtime; add it under \"runtimes\" in its daemon.json: %w",
		handler, errdefs.ErrInvalidArgument)
}
