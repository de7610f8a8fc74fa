// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// bind mounts source at point, with what is mounted below it. Mounts that come
// and go below the source later, do so here too if the source is shared.
func (m Mount) bind(source, point string) error {
	err := m.bindTree(source, point)
	if errors.Is(err, unix.ENOSYS) {
		err = m.bindTop(source, point)
	}
	if err != nil {
		return fmt.Errorf("bind %s to %s: %w", source, point, err)
	}
	return nil
}

// bindTree gives a copy of the tree of mounts its options before anybody sees
// it. Closing an unfinished copy ends it.
func (m Mount) bindTree(source, point string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(tree)
	all, top := m.flags()
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: all}); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: top}); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, point, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// bindTop is for kernels that cannot do bindTree, which have no way to change a
// tree of mounts at once.
func (m Mount) bindTop(source, point string) error {
	if m.RecursiveReadOnly {
		return fmt.Errorf("read-only mounts below it need Linux 5.12: %w", errdefs.ErrFailedPrecondition)
	}
	if err := unix.Mount(source, point, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(point, &s); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	// A remount replaces these flags, and leaves that of access times if given none.
	_, flags := m.flags()
	flags |= uint64(s.Flags) & (unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("", point, "", unix.MS_REMOUNT|unix.MS_BIND|uintptr(flags), ""); err != nil {
		return fmt.Errorf("remount: %w", err)
	}
	return nil
}

// flags are those of all mounts of the tree, and those of its top. They have the
// same numbers in mount (MS_), mount_setattr (MOUNT_ATTR_) and statfs (ST_).
func (m Mount) flags() (all, top uint64) {
	for flag, wanted := range map[uint64]bool{
		unix.MS_NOEXEC: m.NoExec,
		unix.MS_NOSUID: m.NoSUID,
		unix.MS_NODEV:  m.NoDev,
		unix.MS_RDONLY: m.RecursiveReadOnly,
	} {
		if wanted {
			all |= flag
		}
	}
	if m.ReadOnly {
		return all, all | unix.MS_RDONLY
	}
	return all, all
}
