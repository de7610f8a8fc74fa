// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Remove unmounts and removes what is staged under the key, if anything is. Who
// uses a mount at the time, as a container does, keeps it.
func (s *Staging) Remove(key string) error {
	if err := s.remove(key); err != nil {
		return fmt.Errorf("remove staged mounts of %s: %w", key, err)
	}
	return nil
}

func (s *Staging) remove(key string) error {
	folder, err := s.folder(key)
	if err == nil {
		_, err = os.Lstat(folder)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := unmount(folder); err != nil {
		return err
	}
	return removeFolder(folder)
}

// Retain removes what is staged under keys that are not known: what a killed
// daemon left. It goes on after failures and returns them joined.
func (s *Staging) Retain(known func(key string) bool) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list staged mounts: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !known(e.Name()) {
			errs = append(errs, s.Remove(e.Name()))
		}
	}
	return errors.Join(errs...)
}

// unmount unmounts until nothing is mounted in the folder. A mount takes along
// what is below it; one that was hidden by another comes to light after it.
func unmount(folder string) error {
	for {
		mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(folder))
		if err != nil {
			return fmt.Errorf("list mounts: %w", err)
		}
		if len(mounts) == 0 {
			return nil
		}
		inside := map[int]bool{}
		for _, m := range mounts {
			inside[m.ID] = true
		}
		for _, m := range mounts {
			if inside[m.Parent] {
				continue
			}
			if err := detach(m.Mountpoint); err != nil {
				return err
			}
		}
	}
}

// detach unmounts the mount at point and all below it, busy or not.
//
// It is made private first. A staged mount shares with its source what is
// mounted below, unmounting too: the source's mounts would be gone.
func detach(point string) error {
	if err := unix.Mount("", point, "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make %s private: %w", point, err)
	}
	if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", point, err)
	}
	return nil
}

// removeFolder removes the folder of a key, where nothing is mounted any more.
// It looks no deeper than to our own mount points.
func removeFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		for _, p := range []string{filepath.Join(path, imageName), filepath.Join(path, mountName), path} {
			if err := removeEmpty(p); err != nil {
				return err
			}
		}
	}
	return removeEmpty(folder)
}

// removeEmpty removes a path if it is an empty file or directory. Should
// something be mounted there after all, the kernel refuses.
func removeEmpty(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().IsRegular() && info.Size() > 0:
		err = unix.ENOTEMPTY
	default:
		err = os.Remove(path)
	}
	if errors.Is(err, unix.ENOTEMPTY) {
		return fmt.Errorf("%s holds what was written while nothing was mounted there; save it or delete it: %w", path, errdefs.ErrFailedPrecondition)
	}
	return err
}
