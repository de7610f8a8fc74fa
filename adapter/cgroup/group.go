// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Group is a container's control group in each hierarchy. It is made by Of.
type Group struct {
	hierarchies *Hierarchies
	pid         int
	dirs        map[string]string // by controller of version 1; "" is that of version 2
}

// Of is the group of the container whose first process is pid. It is an
// errdefs.ErrNotFound if that process has ended. For a process of no container
// it is the group that the process is in.
func (h *Hierarchies) Of(pid int) (*Group, error) {
	text, err := read(proc(pid, "cgroup"))
	if err == nil {
		// The kernel tells the root's groups of a process that is ending. So look
		// whether it is only after having read.
		err = running(pid)
	}
	if err != nil {
		return nil, fmt.Errorf("find the cgroup of process %d: %w", pid, err)
	}
	return &Group{hierarchies: h, pid: pid, dirs: h.dirs(text)}, nil
}

// dirs reads /proc/PID/cgroup: lines of ID:CONTROLLER,CONTROLLER:PATH.
func (h *Hierarchies) dirs(text string) map[string]string {
	dirs := map[string]string{}
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) < 3 {
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			mount, mounted := h.mounts[controller]
			if dir := mount.dir(ofContainer(fields[2])); mounted && dir != "" {
				dirs[controller] = dir
			}
		}
	}
	return dirs
}

// container is a path up to the last element that has a container's id in it, as
// it has with either cgroup driver.
var container = regexp.MustCompile(`^.*/[^/]*[0-9a-f]{64}[^/]*`)

// ofContainer is the part of a path that names the container's group. A first
// process that is systemd, or Docker's, moves itself further down, and such a
// path may end with init.scope, which systemd would take for that of the host.
func ofContainer(path string) string {
	if found := container.FindString(path); found != "" {
		return found
	}
	return path
}

// running is an error if a process has ended, or is about to.
func running(pid int) error {
	text, err := read(proc(pid, "stat"))
	if err != nil {
		return err
	}
	// What is between parentheses, the program's name, may have any character.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const exiting = 4 // PF_EXITING in the kernel's include/linux/sched.h
	if len(fields) < 7 {
		return fmt.Errorf("%s: too few fields", proc(pid, "stat"))
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	if err == nil && flags&exiting != 0 {
		err = kinded(unix.ESRCH)
	}
	return err
}

func proc(pid int, file string) string { return fmt.Sprintf("/proc/%d/%s", pid, file) }

// v1 is the path of a controller's file in its hierarchy of version 1, or "".
func (g *Group) v1(file string) string {
	controller, _, _ := strings.Cut(file, ".")
	return g.in(controller, file)
}

// v2 is the path of a file in the hierarchy of version 2, or "".
func (g *Group) v2(file string) string { return g.in("", file) }

func (g *Group) in(controller, file string) string {
	if g.dirs[controller] == "" {
		return ""
	}
	return filepath.Join(g.dirs[controller], file)
}

// hugePages are the paths of the limit of pages of a size that are in use, and
// of those that are reserved by mappings; "" without the controller.
func (g *Group) hugePages(size string) (used, reserved string) {
	if g.dirs["hugetlb"] != "" {
		return g.v1("hugetlb." + size + ".limit_in_bytes"), g.v1("hugetlb." + size + ".rsvd.limit_in_bytes")
	}
	return g.v2("hugetlb." + size + ".max"), g.v2("hugetlb." + size + ".rsvd.max")
}

// read is the text of a file without the spaces around it.
func read(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), kinded(err)
}

// write writes line by line, as the kernel takes a file with a line per device.
// The newline lets an empty value be written, which is what a cpuset has at first.
func write(path, value string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return kinded(err)
	}
	for line := range strings.SplitSeq(value, "\n") {
		if _, err := file.WriteString(line + "\n"); err != nil {
			_ = file.Close()
			return kinded(err)
		}
	}
	return kinded(file.Close())
}

// kinded gives errors of the kernel a kind.
func kinded(err error) error {
	switch {
	case gone(err):
		return fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE):
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %w", err, errdefs.ErrFailedPrecondition)
	}
	return err
}

// gone tells the errors of reading about a process or a group that has ended,
// before opening or after.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV)
}
