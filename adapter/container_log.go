// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"

	"github.com/dockershimd/dockershimd/translate"
)

// engineLog is where the engine's json-file driver writes a container's log.
// Inspect tells the same, but only of containers that have been started.
func (s *Server) engineLog(id string) string {
	return filepath.Join(s.node.Load().info.DockerRootDir, "containers", id, id+"-json.log")
}

// linkLog puts a link to the engine's log where the kubelet looks for it; the
// kubelet reads Docker's format. A link of an earlier container gives way, a
// file or directory of somebody else does not.
func (s *Server) linkLog(c *workload) error {
	path := translate.LogPath(c.inspect.Config.Labels)
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the log directory: %w", err)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("log path %s: something is there that is no link; move it away: %w", path, errdefs.ErrFailedPrecondition)
	}
	// A link cannot be overwritten, but a rename replaces it in one step.
	next := path + "." + c.id()[:12]
	if err := os.Symlink(s.engineLog(c.id()), next); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("link the log: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("link the log: %w", err)
	}
	return nil
}

// unlinkLog removes the link of a container, unless it already belongs to
// another one.
func (s *Server) unlinkLog(path, id string) error {
	if path == "" {
		return nil
	}
	if target, err := os.Readlink(path); err != nil || target != s.engineLog(id) {
		return nil // not ours, or gone
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the link to the log: %w", err)
	}
	return nil
}
