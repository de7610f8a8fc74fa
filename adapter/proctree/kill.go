// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Kill kills the command whose process in the container is, or was, pid, and
// everything it started. If the process is gone, that is whoever is left in its
// session. Refusals are those of Find.
func Kill(ctx context.Context, containerID string, pid int) error {
	p, err := Find(containerID, pid)
	if errdefs.IsNotFound(err) {
		p = Process{container: containerID, pid: pid}
	} else if err != nil {
		return err
	}
	return p.Kill(ctx)
}

const (
	// pause between two looks at all processes.
	pause = 5 * time.Millisecond
	// quietRounds that find nobody are the end. One can miss a process that
	// forks and ends while /proc is being read.
	quietRounds = 2
)

// Kill kills the process and everything it started, and returns when none of
// them lives, or when ctx ends, with an error that names those who are left. A
// process in a paused container dies only after the pause. The process may have
// ended already. The first process of a container is refused with an
// errdefs.ErrFailedPrecondition.
func (p Process) Kill(ctx context.Context) error {
	if err := p.kill(ctx); err != nil {
		return fmt.Errorf("kill process %d of container %s and what it started: %w", p.pid, p.container, err)
	}
	return nil
}

func (p Process) kill(ctx context.Context) error {
	if err := p.check(); err != nil {
		return err
	}
	if first(p.pid) && p.Alive() {
		return fmt.Errorf("it is the container's first process: %w", errdefs.ErrFailedPrecondition)
	}
	h := newHunt(p)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for quiet := 0; ; {
		left, err := h.round()
		if err != nil || len(left) > 0 {
			quiet = 0
		} else if quiet++; quiet == quietRounds {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if quiet > 0 {
				return nil
			}
			return errors.Join(fmt.Errorf("processes %v are left: %w", left, ctx.Err()), err)
		}
	}
}

// hunt is what is known of a command while it is being killed.
type hunt struct {
	Process
	known   map[int]uint64 // whoever was found, by pid, with the start time
	leaders map[int]uint64 // those who lead a session
}

func newHunt(p Process) *hunt {
	return &hunt{
		Process: p,
		known:   map[int]uint64{p.pid: p.start},
		leaders: map[int]uint64{p.pid: p.start},
	}
}

// round kills whoever is found now, and returns their pids.
func (h *hunt) round() ([]int, error) {
	t, err := readTable(h.container)
	if err != nil {
		return nil, err
	}
	found := h.members(t)
	errs := h.killGroups(t, found)
	for _, p := range found {
		errs = append(errs, p.kill())
	}
	return slices.Sorted(maps.Keys(found)), errors.Join(errs...)
}

// killGroups kills the process groups in the command's sessions. The kernel does
// that at one stroke, and no fork gets between: processes that fork faster than
// we look at them die all the same. SIGSTOP before SIGKILL would not catch those,
// and a parent notices it.
func (h *hunt) killGroups(t table, found table) (errs []error) {
	groups := map[int]bool{}
	for _, p := range found {
		if p.group > 1 && h.leads(t, p.session) {
			groups[p.group] = true
		}
	}
	for group := range groups {
		// The number becomes another group's only by a new process of that pid.
		leader, err := readStat(group)
		if err == nil && (found[group] == nil || found[group].start != leader.start) && !leader.dead || err != nil && !gone(err) {
			continue
		}
		if err := unix.Kill(-group, unix.SIGKILL); err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("kill process group %d: %w", group, err))
		}
	}
	return errs
}

// kill kills the process, unless its pid has become another's.
func (p *process) kill() error {
	// A descriptor stays with the process. Old kernels and some sandboxes have
	// none; what is left then is the moment between the check and the signal.
	fd, openErr := unix.PidfdOpen(p.pid, 0)
	if openErr == nil {
		defer unix.Close(fd)
	}
	if !alive(p.pid, p.start) {
		return nil
	}
	err := openErr
	if openErr == nil {
		err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	if err != nil && !gone(err) {
		err = unix.Kill(p.pid, unix.SIGKILL)
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("kill process %d: %w", p.pid, err)
	}
	return nil
}
