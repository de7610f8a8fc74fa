// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// prepare makes dir a file system of its own, unless it is one: a tmpfs on a bind
// of dir to itself that is unbindable, and so is private.
//
// Were it not so, a staged "/" would have all that is staged in it once more, the
// next one twice that, and so on; mount_namespaces(7) has this as the example.
//
// An engine in another mount namespace cannot see what is staged. It finds no
// such path then, and says so, where it would bind bare mount points without a
// word. They would be seen elsewhere if the tmpfs were mounted on a shared root,
// as it would be copied; hence the bind between. And a tmpfs is empty after a
// reboot, so there are no bare mount points to start old containers with.
func (s *Staging) prepare() error {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	dir, err := s.path()
	if err != nil {
		return err
	}
	ready, err := prepared(dir)
	if err != nil || ready {
		return err
	}
	err = unix.Mount(dir, dir, "", unix.MS_BIND, "")
	if err == nil {
		err = unix.Mount("", dir, "", unix.MS_UNBINDABLE, "")
	}
	if err == nil { // the last, as prepared looks for it
		err = unix.Mount(homeName, dir, "tmpfs", 0, "mode=0700")
	}
	if err != nil {
		return fmt.Errorf("make a file system of its own of %s: %w", dir, err)
	}
	return nil
}

// homeName is what mountinfo names as the source of the tmpfs.
const homeName = "dockershimd-staging"

func prepared(dir string) (bool, error) {
	found, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		ready := m.Mountpoint == dir && m.Source == homeName
		return !ready, ready
	})
	return len(found) > 0, err
}

// path is dir as the kernel names it in mountinfo: from the root and without
// symlinks. It is an fs.ErrNotExist if there is no dir yet.
func (s *Staging) path() (string, error) {
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}
