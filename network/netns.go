// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespaces keeps the network namespaces of sandboxes. netnsDir does; tests
// that have no privileges use a stand-in.
type namespaces interface {
	// pin keeps the network namespace of pid and returns its path.
	pin(id string, pid int) (path string, err error)
	// unpin undoes pin; without a pin it does nothing.
	unpin(id string) error
	// path returns where id's namespace is pinned, "" if it is not.
	path(id string) string
	// ids lists the sandboxes that have a pin, or the remains of one.
	ids() ([]string, error)
	// raiseLoopback brings the loopback interface of the namespace at path up.
	raiseLoopback(path string) error
}

// pinPrefix tells our files in NetnsDir from those of others.
const pinPrefix = "dockershimd-"

// netnsDir pins namespaces by mounting them onto files, as ip-netns does.
type netnsDir struct {
	dir string
	mu  sync.Mutex // one share at a time: two would stack mounts
}

func (d *netnsDir) file(id string) string { return filepath.Join(d.dir, pinPrefix+id) }

func (d *netnsDir) pin(id string, pid int) (string, error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return "", fmt.Errorf("pin network namespace: the pause process is gone: %w", err)
	}
	defer ns.Close()
	info, err := ns.Stat()
	if err != nil {
		return "", fmt.Errorf("pin network namespace: %w", err)
	}
	// Plugins would set the node's own interfaces up, and later delete them.
	ours, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return "", fmt.Errorf("pin network namespace: %w", err)
	}
	if os.SameFile(info, ours) {
		return "", fmt.Errorf("pin network namespace: process %d is in the node's own", pid)
	}
	path := d.file(id)
	if pinned, err := os.Stat(path); err == nil && os.SameFile(info, pinned) {
		return path, nil
	}
	if err := d.mount(ns, id); err != nil {
		return "", fmt.Errorf("pin network namespace: %w", err)
	}
	return path, nil
}

// mount replaces whatever is at id's file by ns. The source is our descriptor
// of ns: the pid could belong to another process by now.
func (d *netnsDir) mount(ns *os.File, id string) error {
	if err := d.share(); err != nil {
		return err
	}
	if err := d.unpin(id); err != nil {
		return err
	}
	path := d.file(id)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	source := fmt.Sprintf("/proc/self/fd/%d", ns.Fd())
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		os.Remove(path)
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return nil
}

// share makes the directory a shared mount point, if it is not, as ip-netns
// does: a pin, and later its removal, then reach the mount namespaces of others,
// such as a network add-on's containers.
func (d *netnsDir) share() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	err := unix.Mount("", d.dir, "", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point
		if err = unix.Mount(d.dir, d.dir, "", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", d.dir, "", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("share mounts in %s: %w", d.dir, err)
	}
	return nil
}

func (d *netnsDir) unpin(id string) error {
	path := d.file(id)
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // not mounted, or nothing there
			break
		}
		if err != nil {
			return fmt.Errorf("unpin network namespace: unmount %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin network namespace: %w", err)
	}
	return nil
}

func (d *netnsDir) path(id string) string {
	var s unix.Statfs_t
	path := d.file(id)
	if unix.Statfs(path, &s) != nil || s.Type != unix.NSFS_MAGIC {
		return ""
	}
	return path
}

func (d *netnsDir) ids() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list pinned network namespaces: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Name(), pinPrefix); ok && id != "" {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// raiseLoopback uses a netlink socket that was made in the namespace, which
// spares a plugin per pod and keeps our threads where they are.
func (d *netnsDir) raiseLoopback(path string) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("bring loopback up: open %s: %w", path, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("bring loopback up in %s: %w", path, err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring loopback up in %s: %w", path, err)
	}
	return nil
}

// processOf tells whether path is the network namespace of a live process in
// the cgroup of container id. Older shims handed plugins /proc/<pid>/ns/net,
// and by now that pid may be another pod's process, or the node's.
func processOf(id, path string) bool {
	var pid int
	if _, err := fmt.Sscanf(path, "/proc/%d/ns/net", &pid); err != nil {
		return false
	}
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && strings.Contains(string(cgroup), id)
}
