// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// rollbackLimit is how long systemd may take to get the former values.
const rollbackLimit = 10 * time.Second

// Apply sets all limits or none: if one cannot be set, those before get their
// former values. With the driver "systemd" it sets the properties of the
// group's unit too. Controllers that it had to enable in the groups above stay
// enabled, since others may rely on them by then. A repeated call changes nothing.
//
// The error names the limit that could not be set. It is an
// errdefs.ErrFailedPrecondition if this node cannot limit that,
// errdefs.ErrInvalidArgument if the value is none, and errdefs.ErrNotFound if
// the container has ended.
func (g *Group) Apply(ctx context.Context, l Limits, driver string) error {
	err := g.apply(ctx, l, driver)
	if err != nil && errdefs.IsNotFound(running(g.pid)) {
		// Its files and its unit go with it, so any step may fail then, with any error.
		return fmt.Errorf("process %d has ended: %v: %w", g.pid, err, errdefs.ErrNotFound)
	}
	return err
}

func (g *Group) apply(ctx context.Context, l Limits, driver string) error {
	all, err := g.settings(l)
	if err != nil {
		return err
	}
	u := unit{dial: g.hierarchies.Dial}
	if driver == "systemd" {
		u.name = unitName(g.dirs[""])
	}
	if u.name != "" {
		all = append(all, g.bystanders(all)...)
	}
	if err := applyAll(ctx, u, all); err != nil {
		return restored(ctx, u, all, err)
	}
	return nil
}

// applyAll tells systemd of all settings before it writes any, since with one
// property systemd writes the files of others.
func applyAll(ctx context.Context, u unit, settings []setting) error {
	for _, s := range settings {
		if err := s.tell(ctx, u, s.value); err != nil {
			return fmt.Errorf("%s=%s: %w", s.key, s.value, err)
		}
	}
	for _, s := range settings {
		// After systemd too: it only logs it if the kernel refuses a value, and has
		// whole percents of CPU time only.
		if err := write(s.path, s.value); err != nil {
			return fmt.Errorf("%s=%s: %w", s.key, s.value, err)
		}
	}
	return nil
}

// restored is why settings are given up, after they got their former values. It
// goes on where a step fails, to leave as little behind as it can.
func restored(ctx context.Context, u unit, settings []setting, reason error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackLimit)
	defer cancel()
	var failed error
	for _, s := range slices.Backward(settings) {
		failed = errors.Join(failed, s.tell(ctx, u, s.former))
	}
	for _, s := range slices.Backward(settings) {
		failed = errors.Join(failed, write(s.path, s.former), s.reset())
	}
	if failed != nil {
		return fmt.Errorf("%w (and restoring the former limits: %v)", reason, failed)
	}
	return reason
}

// setting is a value for one file of the group.
type setting struct {
	key           string // what the limit is called in the request
	path          string
	value, former string
	bystander     bool // nobody asked for it, and systemd is not told
}

func (s setting) tell(ctx context.Context, u unit, value string) error {
	if s.bystander {
		return nil
	}
	return u.set(ctx, filepath.Base(s.path), value)
}

// bystanders keep the values of files that systemd writes, when it is told of
// others of their controller, with what it takes to be right: it has no property
// for what happens when memory is short, in a scope that runs, and whole percents
// of CPU time only.
func (g *Group) bystanders(asked []setting) (all []setting) {
	for _, file := range []string{"cpu.max", "memory.oom.group", "memory.zswap.writeback"} {
		controller, _, _ := strings.Cut(file, ".")
		told := slices.ContainsFunc(asked, func(s setting) bool {
			return properties[filepath.Base(s.path)] != nil && strings.HasPrefix(filepath.Base(s.path), controller+".")
		})
		among := slices.ContainsFunc(asked, func(s setting) bool { return filepath.Base(s.path) == file })
		if former, err := read(g.v2(file)); err == nil && told && !among {
			all = append(all, setting{key: unifiedKey(file), path: g.v2(file), value: former, former: former, bystander: true})
		}
	}
	return all
}

// lift says by file what takes a limit from a device that had none: such a
// device is not in the former value.
var lift = map[string]string{
	"io.max":    "rbps=max wbps=max riops=max wiops=max",
	"io.weight": "default",
}

// reset lifts the limits of devices that have none in the former value.
func (s setting) reset() (err error) {
	none, found := lift[filepath.Base(s.path)]
	for line := range strings.Lines(s.value) {
		device, _, _ := strings.Cut(line, " ")
		if found && strings.Contains(device, ":") && !strings.Contains("\n"+s.former, "\n"+device+" ") {
			err = errors.Join(err, write(s.path, device+" "+none))
		}
	}
	return err
}

// settings are in the order of their names: huge pages first. All of it is
// checked here, and nothing is changed but which controllers are enabled.
func (g *Group) settings(l Limits) (all []setting, err error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	for _, size := range slices.Sorted(maps.Keys(l.HugePages)) {
		some, err := g.hugePageSettings(size, l.HugePages[size])
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	for _, file := range slices.Sorted(maps.Keys(l.Unified)) {
		s := setting{key: unifiedKey(file), path: g.v2(file), value: strings.TrimSpace(l.Unified[file])}
		if err := g.prepare(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// hugePageSettings are the limits of the pages in use and, where the kernel has
// that, of those reserved, the same for both, as runc does it. To forbid pages
// that there are none of needs no setting.
func (g *Group) hugePageSettings(size string, limit uint64) ([]setting, error) {
	key, value := hugePagesKey(size), strconv.FormatUint(limit, 10)
	if !g.hierarchies.Hugetlb() || !slices.Contains(g.hierarchies.pageSizes, size) {
		if limit == 0 {
			return nil, nil
		}
		return nil, fmt.Errorf("%s=%s: this node has no such pages, or no hugetlb controller: %w", key, value, errdefs.ErrFailedPrecondition)
	}
	used, reserved := g.hugePages(size)
	settings := []setting{{key: key, path: used, value: value}}
	if err := g.prepare(&settings[0]); err != nil {
		return nil, err
	}
	switch former, err := read(reserved); {
	case err == nil:
		settings = append(settings, setting{key: key, path: reserved, value: value, former: former})
	case !gone(err):
		return nil, fmt.Errorf("%s=%s: %w", key, value, err)
	}
	return settings, nil
}

// prepare has the kernel offer the file of s, and notes its former value.
func (g *Group) prepare(s *setting) (err error) {
	if err = g.offer(s.path); err == nil {
		s.former, err = read(s.path)
	}
	if err != nil {
		return fmt.Errorf("%s=%s: %w", s.key, s.value, err)
	}
	return nil
}
