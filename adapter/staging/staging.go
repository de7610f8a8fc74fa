// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Mount is one mount to stage: a bind of Source, or an image of Layers.
//
// The options are those of the mount, added to those that the source has
// already. The mounts below a source come with it, and NoExec, NoSUID and NoDev
// are theirs too; before Linux 5.12, only the top mount gets them.
type Mount struct {
	// Source is the host path to bind: a directory or a file, absolute; symlinks
	// are followed. It is empty for an image.
	Source string
	// Layers are the directories of an image's layers, topmost first. They are
	// empty for a bind.
	Layers []string
	// SubPath is what of the image is wanted, relative; "" is all of it. Symlinks
	// in it are resolved inside of the image.
	SubPath string
	// ReadOnly makes the mount itself read-only, as an image always is.
	// RecursiveReadOnly makes the mounts below it so too; a bind of that kind
	// needs Linux 5.12.
	ReadOnly, RecursiveReadOnly bool
	NoExec, NoSUID, NoDev       bool
}

// Staging keeps staged mounts in a folder of its own. Calls for different keys
// may overlap, those for one key may not.
type Staging struct {
	dir       string
	preparing sync.Mutex
}

// New stages below dir, which need not exist yet. The first Stage mounts a tmpfs
// there, which stays. The engine has to be in our mount namespace to find what is
// staged. Only root may enter: containers reach their mounts by Docker's bind, not
// by this path.
func New(dir string) *Staging {
	return &Staging{dir: dir}
}

// Stage makes the mounts under a key, all or none, and returns for each the path
// to bind. What an earlier attempt left under the key is removed first; who uses
// that already goes on using it.
//
// A key has letters, digits, '-', '_' and '.', which is not its first character.
// Of a mount that is nothing to stage, or that is not there, the error is an
// errdefs.ErrInvalidArgument; if the node cannot do it, an
// errdefs.ErrFailedPrecondition.
func (s *Staging) Stage(key string, mounts []Mount) ([]string, error) {
	if err := s.Remove(key); err != nil {
		return nil, err
	}
	paths, err := s.stage(key, mounts)
	if err == nil {
		return paths, nil
	}
	err = fmt.Errorf("stage mounts of %s: %w", key, err)
	if undone := s.Remove(key); undone != nil {
		err = fmt.Errorf("%w; and afterwards: %v", err, undone)
	}
	return nil, err
}

func (s *Staging) stage(key string, mounts []Mount) (paths []string, err error) {
	for _, m := range mounts {
		if err := m.check(); err != nil {
			return nil, err
		}
	}
	if len(mounts) == 0 {
		return nil, nil
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	folder, err := s.folder(key)
	if err != nil {
		return nil, err
	}
	for n, m := range mounts {
		path, err := m.stage(filepath.Join(folder, strconv.Itoa(n)))
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

var keys = regexp.MustCompile(`^[\w-][\w.-]*$`)

func (s *Staging) folder(key string) (string, error) {
	if !keys.MatchString(key) {
		return "", fmt.Errorf("%q is no key: %w", key, errdefs.ErrInvalidArgument)
	}
	dir, err := s.path()
	return filepath.Join(dir, key), err
}

// stage makes the mount in folder and returns the path to bind.
func (m Mount) stage(folder string) (string, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	source := m.Source
	if source == "" {
		var err error
		if source, err = m.image(filepath.Join(folder, imageName)); err != nil {
			return "", err
		}
		m.ReadOnly, m.RecursiveReadOnly = true, false // nothing is mounted below it
	}
	point := filepath.Join(folder, mountName)
	if err := makePoint(point, source); err != nil {
		return "", kind(err, errdefs.ErrInvalidArgument)
	}
	return point, m.bind(source, point)
}

// The names in a mount's folder.
const (
	imageName = "image"
	mountName = "mount"
)

func (m Mount) check() error {
	problem := ""
	switch {
	case m.Source != "" && len(m.Layers) > 0:
		problem = "a mount has a source or layers, not both"
	case m.Source == "" && len(m.Layers) == 0:
		problem = "a mount needs a source, or the layers of an image"
	case m.Source != "" && !filepath.IsAbs(m.Source):
		problem = fmt.Sprintf("the source %q is not an absolute path", m.Source)
	case m.Source != "" && m.SubPath != "":
		problem = fmt.Sprintf("the sub path %q is not of an image", m.SubPath)
	case m.SubPath != "" && !filepath.IsLocal(m.SubPath):
		problem = fmt.Sprintf("the sub path %q leads out of the image", m.SubPath)
	default:
		return nil
	}
	return fmt.Errorf("%s: %w", problem, errdefs.ErrInvalidArgument)
}

// makePoint makes something to mount source on: a directory takes a directory,
// a file anything else.
func makePoint(point, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.Mkdir(point, 0o700)
	}
	return os.WriteFile(point, nil, 0o600)
}

// kind adds the kind to an error that tells of a path that leads nowhere.
func kind(err, kind error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return fmt.Errorf("%w: %w", err, kind)
	}
	return err
}
