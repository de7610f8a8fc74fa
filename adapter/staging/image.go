// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"fmt"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// image puts the image together at point, and returns where in it the sub path
// leads.
func (m Mount) image(point string) (string, error) {
	if err := os.Mkdir(point, 0o700); err != nil {
		return "", err
	}
	if err := mountLayers(m.Layers, point); err != nil {
		return "", err
	}
	path, err := securejoin.SecureJoin(point, m.SubPath)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", kind(fmt.Errorf("sub path %q of an image: %w", m.SubPath, err), errdefs.ErrInvalidArgument)
	}
	return path, nil
}

// mountLayers mounts the layers, topmost first, over each other and read-only.
//
// The kernel is told of them by descriptors: their paths would need escaping, and
// mount(2) takes one page of options, which those of Docker's 128 layers exceed.
// So mountinfo shows /proc/self/fd/N where the path of a layer would be.
func mountLayers(layers []string, point string) error {
	if len(layers) == 1 {
		// An overlay has two layers at least. The bare mount point is an empty one;
		// and a bind of the only layer would show its whiteouts as devices.
		layers = []string{layers[0], point}
	}
	names := make([]string, len(layers))
	for i, layer := range layers {
		f, err := os.OpenFile(layer, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return kind(fmt.Errorf("layer of an image, which may have to be pulled again: %w", err), errdefs.ErrFailedPrecondition)
		}
		defer f.Close()
		names[i] = fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	}
	options := "lowerdir=" + strings.Join(names, ":")
	if len(options) >= os.Getpagesize() {
		return fmt.Errorf("mount an image: its %d layers are too many for mount(2): %w", len(layers), errdefs.ErrFailedPrecondition)
	}
	if err := unix.Mount("overlay", point, "overlay", unix.MS_RDONLY, options); err != nil {
		return fmt.Errorf("mount an image of %d layers, topmost %s, at %s: %w", len(layers), layers[0], point, err)
	}
	return nil
}
