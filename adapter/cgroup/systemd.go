// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// unit is the unit of systemd that a group is; without a name it is none.
type unit struct {
	name string
	dial Dialer
}

// unitName is the unit that made a group, or "".
func unitName(dir string) string {
	if slices.Contains([]string{".scope", ".slice", ".service"}, filepath.Ext(dir)) {
		return filepath.Base(dir)
	}
	return ""
}

// set tells systemd a value of a file, if it has properties for it.
func (u unit) set(ctx context.Context, file, value string) error {
	translate := properties[file]
	if u.name == "" || translate == nil {
		return nil
	}
	all, err := translate(value)
	if err != nil {
		return err
	}
	dial := u.dial
	if dial == nil {
		dial = systemd.NewSystemdConnectionContext
	}
	conn, err := dial(ctx)
	if err != nil {
		return fmt.Errorf("reach systemd: %w: %w", err, errdefs.ErrUnavailable)
	}
	defer conn.Close()
	// At runtime only: the unit is made anew at each start.
	if err = conn.SetUnitPropertiesContext(ctx, u.name, true, all...); err == nil {
		// It answers before it writes to the cgroup. Before it answers again, to a
		// call that changes nothing, it has written.
		err = conn.SetUnitPropertiesContext(ctx, u.name, true)
	}
	if err != nil {
		return fmt.Errorf("set properties of unit %s for %s: %w", u.name, file, refused(err))
	}
	return nil
}

// refused gives systemd's refusal of a value its kind.
func refused(err error) error {
	if answer := (dbus.Error{}); errors.As(err, &answer) && answer.Name == "org.freedesktop.DBus.Error.InvalidArgs" {
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return err
}

// properties are those of systemd.resource-control(5) by file, with their types
// on the bus. Of other files systemd knows nothing, and leaves them alone.
var properties = map[string]func(value string) ([]systemd.Property, error){
	"cpu.max":         cpuQuota,
	"cpu.weight":      number("CPUWeight"),
	"cpuset.cpus":     mask("AllowedCPUs"),
	"cpuset.mems":     mask("AllowedMemoryNodes"),
	"memory.high":     number("MemoryHigh"),
	"memory.low":      number("MemoryLow"),
	"memory.max":      number("MemoryMax"),
	"memory.min":      number("MemoryMin"),
	"memory.swap.max": number("MemorySwapMax"),
	"pids.max":        number("TasksMax"),
}

func property(name string, value any) systemd.Property {
	return systemd.Property{Name: name, Value: dbus.MakeVariant(value)}
}

func number(name string) func(string) ([]systemd.Property, error) {
	return func(value string) ([]systemd.Property, error) {
		n, err := parseNumber(value)
		return []systemd.Property{property(name, n)}, err
	}
}

// infinity is systemd's for what is "max" in the kernel's files.
const infinity = uint64(math.MaxUint64)

func parseNumber(value string) (uint64, error) {
	if value == "max" {
		return infinity, nil
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a number nor max: %w", value, errdefs.ErrInvalidArgument)
	}
	return n, nil
}

// cpuQuota reads QUOTA [PERIOD].
func cpuQuota(value string) ([]systemd.Property, error) {
	fields := strings.Fields(value)
	if len(fields) < 1 || len(fields) > 2 {
		return nil, fmt.Errorf("%q is not a quota and a period: %w", value, errdefs.ErrInvalidArgument)
	}
	quota, err := parseNumber(fields[0])
	if err != nil {
		return nil, err
	}
	if len(fields) == 1 {
		const usual = 100_000
		return perSecond(quota, usual)
	}
	period, err := parseNumber(fields[1])
	if err != nil {
		return nil, err
	}
	all, err := perSecond(quota, period)
	return append(all, property("CPUQuotaPeriodUSec", period)), err
}

// perSecond rounds up to whole percents: in its files, which it reads again at a
// daemon-reload, systemd would round down.
func perSecond(quota, period uint64) ([]systemd.Property, error) {
	const second, percent = 1_000_000, 10_000
	if quota == infinity {
		return []systemd.Property{property("CPUQuotaPerSecUSec", infinity)}, nil
	}
	if period == 0 || period > second || quota > math.MaxUint64/second-second {
		return nil, fmt.Errorf("no quota of %d in %d microseconds can be had: %w", quota, period, errdefs.ErrInvalidArgument)
	}
	percents := (quota*second/period + percent - 1) / percent
	return []systemd.Property{property("CPUQuotaPerSecUSec", percents*percent)}, nil
}

func mask(name string) func(string) ([]systemd.Property, error) {
	return func(value string) ([]systemd.Property, error) {
		bits, err := parseList(value)
		return []systemd.Property{property(name, bits)}, err
	}
}

// parseList reads a list such as 0-2,7 into a mask whose first byte has the bits
// 0 to 7. An empty list is an empty mask: no restriction, for both sides.
func parseList(list string) ([]byte, error) {
	bits := []byte{}
	if list == "" {
		return bits, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		// Of 16 bits: no machine has more, and the mask stays small.
		from, err := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err != nil || err2 != nil || from > to {
			return nil, fmt.Errorf("%q is not a list of numbers and ranges: %w", list, errdefs.ErrInvalidArgument)
		}
		for len(bits) <= int(to/8) {
			bits = append(bits, 0)
		}
		for i := from; i <= to; i++ {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return bits, nil
}
