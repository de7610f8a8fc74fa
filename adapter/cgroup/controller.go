// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// offer has the kernel offer a file of the group. In version 2 there is none of
// a controller that is not enabled in each group above; on hybrid nodes, where
// nobody manages that hierarchy, it is in none.
func (g *Group) offer(path string) error {
	dir, file := filepath.Split(path)
	switch {
	case path == "":
		return fmt.Errorf("no hierarchy that could have it is mounted here: %w", errdefs.ErrFailedPrecondition)
	case filepath.Clean(dir) == g.hierarchies.mounts[""].point:
		return fmt.Errorf("the process is in the root cgroup, which is the whole node's: %w", errdefs.ErrFailedPrecondition)
	case exists(path):
		return nil
	}
	controller, _, _ := strings.Cut(file, ".")
	err := g.enable(controller)
	switch {
	case err != nil: // of any kind: a missing controller must not look like a missing container
		return fmt.Errorf("the cgroup has no %s: %v: %w", path, err, errdefs.ErrFailedPrecondition)
	case !exists(path):
		return fmt.Errorf("the cgroup has no %s, although the controller %s is enabled: %w", path, controller, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// enable enables a controller in all groups above, from the root down, each of
// which needs it from the one before.
func (g *Group) enable(controller string) error {
	root := g.hierarchies.mounts[""].point
	if all, err := g.hierarchies.UnifiedControllers(); err != nil || !slices.Contains(all, controller) {
		return errors.Join(err, fmt.Errorf("the cgroup2 hierarchy has no controller %s", controller))
	}
	below, err := filepath.Rel(root, g.dirs[""])
	if err != nil {
		return err
	}
	above := root
	for element := range strings.SplitSeq(below, "/") {
		if err := enableIn(above, controller); err != nil {
			return fmt.Errorf("enable the controller %s: %w", controller, err)
		}
		above = filepath.Join(above, element)
	}
	return nil
}

func enableIn(dir, controller string) error {
	path := filepath.Join(dir, "cgroup.subtree_control")
	enabled, err := words(path)
	if err != nil || slices.Contains(enabled, controller) {
		return err
	}
	return write(path, "+"+controller)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
