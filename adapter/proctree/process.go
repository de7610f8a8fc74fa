// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/containerd/errdefs"
)

// Process is a process of a container, told apart from a later one of the same
// pid by its start time. It is made by Find; the zero Process is not alive.
type Process struct {
	container string
	pid       int
	start     uint64   // in ticks since boot; 0 if it had ended when it was looked for
	streams   []stream // its own, as far as noted
}

// Find is the process pid of the container: a command, or the container's first
// process. It is an errdefs.ErrNotFound if there is no such process any more, and
// an errdefs.ErrFailedPrecondition if pid is another container's, or none that a
// runtime has started: it leads no session.
func Find(containerID string, pid int) (Process, error) {
	p, err := find(containerID, pid)
	if err != nil {
		return Process{}, fmt.Errorf("find process %d of container %s: %w", pid, containerID, err)
	}
	return p, nil
}

func find(containerID string, pid int) (Process, error) {
	p := Process{container: containerID, pid: pid}
	if err := p.check(); err != nil {
		return p, err
	}
	s, err := readStat(pid)
	if gone(err) || err == nil && s.dead {
		return p, errNotFound
	}
	if err != nil {
		return p, err
	}
	p.start = s.start
	in, err := membership(pid, containerID)
	if err != nil && !gone(err) {
		return p, err
	}
	p.streams = streamsOf(pid)
	// All this was about one process only if that still lives.
	switch {
	case !p.Alive():
		return p, errNotFound
	case !in:
		return p, fmt.Errorf("it is not in the cgroup of the container: %w", errdefs.ErrFailedPrecondition)
	case s.session != pid:
		return p, fmt.Errorf("it does not lead a session, as a command does: %w", errdefs.ErrFailedPrecondition)
	}
	return p, nil
}

var errNotFound = fmt.Errorf("no such process: %w", errdefs.ErrNotFound)

// check refuses what would be found everywhere: each cgroup has the empty text
// in it, and the session 0 is that of the kernel.
func (p Process) check() error {
	if p.container == "" || p.pid <= 0 {
		return fmt.Errorf("needs the id of a container and a pid: %w", errdefs.ErrInvalidArgument)
	}
	return nil
}

// Alive tells whether the process has not ended; one that only has not been
// waited for yet has. Where /proc cannot be read it counts as alive.
func (p Process) Alive() bool {
	return p.pid > 0 && alive(p.pid, p.start)
}

func alive(pid int, start uint64) bool {
	s, err := readStat(pid)
	return err == nil && s.start == start && !s.dead || err != nil && !gone(err)
}

// stream is what a standard stream is connected to, if nobody outside of a
// command can have it by chance, as /dev/null or a file.
type stream struct {
	pipe      string // "pipe:[N]"
	dev, rdev uint64 // of a terminal
}

func (s stream) terminal() bool { return s.pipe == "" }

// streamsOf lists the standard streams of a process, each once; nothing if it is gone.
func streamsOf(pid int) (all []stream) {
	for fd := range 3 {
		if s, ok := streamAt(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); ok && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// gone tells the errors of reading about a process that has ended.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, errNoProcess)
}
