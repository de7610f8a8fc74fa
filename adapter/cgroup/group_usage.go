// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Usage is what a group has used up to now, and what it uses. Of what the kernel
// does not count here, the message is there without figures; of pressure there
// is none.
type Usage struct {
	CPU       *cri.CpuUsage // without usage_nano_cores, which takes two readings
	Memory    *cri.MemoryUsage
	Swap      *cri.SwapUsage
	IO        *cri.IoUsage
	Processes *cri.ProcessUsage
}

// Usage reads the group's usage. A process that is gone is an errdefs.ErrNotFound.
func (g *Group) Usage() (*Usage, error) {
	r := &reader{}
	at := time.Now().UnixNano()
	u := &Usage{
		CPU:       &cri.CpuUsage{Timestamp: at, UsageCoreNanoSeconds: g.cpuTime(r), Psi: g.pressure(r, "cpu.pressure")},
		Memory:    g.memoryUsage(r, at),
		Swap:      g.swapUsage(r, at),
		IO:        &cri.IoUsage{Timestamp: at, Psi: g.pressure(r, "io.pressure")},
		Processes: &cri.ProcessUsage{Timestamp: at, ProcessCount: figure(r, r.text(g.v1("pids.current"), g.v2("pids.current")))},
	}
	if err := running(g.pid); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, fmt.Errorf("read the usage of process %d: %w", g.pid, r.err)
	}
	return u, nil
}

// cpuTime is in nanoseconds in version 1, in microseconds in version 2, which
// counts even where the controller is not enabled.
func (g *Group) cpuTime(r *reader) *cri.UInt64Value {
	if text := r.text(g.v1("cpuacct.usage")); text != "" {
		return figure(r, text)
	}
	micros := figure(r, field(r.text(g.v2("cpu.stat")), "usage_usec"))
	if micros != nil {
		micros.Value *= 1000
	}
	return micros
}

// statNames are the lines of memory.stat; those of version 1 count the groups
// below as well.
type statNames struct{ inactive, rss, faults, major string }

func (g *Group) memoryStat(r *reader) (text string, names statNames) {
	if g.dirs["memory"] != "" {
		return r.text(g.v1("memory.stat")), statNames{"total_inactive_file", "total_rss", "total_pgfault", "total_pgmajfault"}
	}
	return r.text(g.v2("memory.stat")), statNames{"inactive_file", "anon", "pgfault", "pgmajfault"}
}

func (g *Group) memoryUsage(r *reader, at int64) *cri.MemoryUsage {
	m := &cri.MemoryUsage{Timestamp: at, Psi: g.pressure(r, "memory.pressure")}
	m.UsageBytes = figure(r, r.text(g.v1("memory.usage_in_bytes"), g.v2("memory.current")))
	if m.UsageBytes == nil {
		return m
	}
	stat, names := g.memoryStat(r)
	m.RssBytes = figure(r, field(stat, names.rss))
	m.PageFaults = figure(r, field(stat, names.faults))
	m.MajorPageFaults = figure(r, field(stat, names.major))
	idle := figure(r, field(stat, names.inactive)).GetValue()
	m.WorkingSetBytes = &cri.UInt64Value{Value: less(m.UsageBytes.Value, idle)}
	if limit, limited := r.limit(g.v1("memory.limit_in_bytes"), g.v2("memory.max")); limited {
		m.AvailableBytes = &cri.UInt64Value{Value: less(uint64(limit), m.WorkingSetBytes.Value)}
	}
	return m
}

// swapUsage: version 1 counts memory and swap together.
func (g *Group) swapUsage(r *reader, at int64) *cri.SwapUsage {
	s := &cri.SwapUsage{Timestamp: at}
	if both := figure(r, r.text(g.v1("memory.memsw.usage_in_bytes"))); both != nil {
		memory := figure(r, r.text(g.v1("memory.usage_in_bytes"))).GetValue()
		s.SwapUsageBytes = &cri.UInt64Value{Value: less(both.Value, memory)}
		if limit, limited := r.limit(g.v1("memory.memsw.limit_in_bytes")); limited {
			s.SwapAvailableBytes = &cri.UInt64Value{Value: less(uint64(limit), both.Value)}
		}
		return s
	}
	s.SwapUsageBytes = figure(r, r.text(g.v2("memory.swap.current")))
	if limit, limited := r.limit(g.v2("memory.swap.max")); limited {
		s.SwapAvailableBytes = &cri.UInt64Value{Value: less(uint64(limit), s.SwapUsageBytes.GetValue())}
	}
	return s
}

// less is a difference that counters read one after the other may not make
// negative.
func less(a, b uint64) uint64 { return a - min(a, b) }

// figure is nil where there is no text.
func figure(r *reader, text string) *cri.UInt64Value {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		r.keep(err)
		return nil
	}
	return &cri.UInt64Value{Value: n}
}

// pressure is nil where the kernel keeps none (psi(7) is off, or there is no
// version 2). CRI counts nanoseconds, the kernel microseconds.
func (g *Group) pressure(r *reader, file string) *cri.PsiStats {
	path := g.v2(file)
	if path == "" {
		return nil
	}
	text, err := read(path)
	if err != nil {
		return nil // a kernel that was started with psi=0 has the files, and refuses to read them
	}
	p := &cri.PsiStats{}
	for line := range strings.Lines(text) {
		var kind string
		d := &cri.PsiData{}
		if _, err := fmt.Sscanf(line, "%s avg10=%f avg60=%f avg300=%f total=%d", &kind, &d.Avg10, &d.Avg60, &d.Avg300, &d.Total); err != nil {
			r.keep(fmt.Errorf("%s: %w", file, err))
			return nil
		}
		d.Total *= 1000
		switch kind {
		case "some":
			p.Some = d
		case "full":
			p.Full = d
		}
	}
	return p
}
