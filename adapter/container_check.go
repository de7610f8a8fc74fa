// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/mountinfo"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// checkNode finds what a request wants of this node that is not there. The
// engine would say so only when the container starts.
func checkNode(c *cri.ContainerConfig) (err error) {
	add := func(problem error) {
		switch {
		case err == nil:
			err = problem
		case problem != nil:
			err = fmt.Errorf("%w; %v", err, problem) // all in one line, of the first one's kind
		}
	}
	for i, d := range c.GetDevices() {
		add(checkDevice(fmt.Sprintf("config.devices[%d].host_path", i), d.GetHostPath()))
	}
	for i, m := range c.GetMounts() {
		add(checkPropagation(fmt.Sprintf("config.mounts[%d].propagation", i), m))
	}
	return err
}

// checkDevice: a directory stands for the devices in it.
func checkDevice(field, path string) error {
	if !filepath.IsAbs(path) {
		return nil // translation refuses it
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", field, err, errdefs.ErrInvalidArgument)
	}
	if !info.IsDir() && info.Mode()&fs.ModeDevice == 0 {
		return fmt.Errorf("%s: %q is no device: %w", field, path, errdefs.ErrInvalidArgument)
	}
	return nil
}

// checkPropagation: what is mounted on the node reaches a container only by way
// of a mount that is shared or a slave, and the reverse only by a shared one.
func checkPropagation(field string, m *cri.Mount) error {
	if m.GetPropagation() == cri.MountPropagation_PROPAGATION_PRIVATE || !filepath.IsAbs(m.GetHostPath()) {
		return nil
	}
	mount, err := mountOf(m.GetHostPath())
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	shared := strings.Contains(mount.Optional, "shared:")
	if shared || m.GetPropagation() == cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER && strings.Contains(mount.Optional, "master:") {
		return nil
	}
	return fmt.Errorf("%s: %s of %q needs a shared mount, and %s is private; mount --make-rshared %s makes it one: %w",
		field, m.GetPropagation(), m.GetHostPath(), mount.Mountpoint, mount.Mountpoint, errdefs.ErrInvalidArgument)
}

// mountOf is the mount that a path lies on, or would if it were made.
func mountOf(path string) (*mountinfo.Info, error) {
	real, err := filepath.EvalSymlinks(path)
	for errors.Is(err, fs.ErrNotExist) && path != "/" {
		path = filepath.Dir(path)
		real, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return nil, err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(real))
	if err != nil {
		return nil, fmt.Errorf("list the node's mounts: %w", err)
	}
	var found *mountinfo.Info
	for _, m := range mounts {
		// Of two mounts on one path, the later hides the earlier.
		if found == nil || len(m.Mountpoint) >= len(found.Mountpoint) {
			found = m
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no mount holds %s", real)
	}
	return found, nil
}
