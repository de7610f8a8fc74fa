// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

func TestProperties(t *testing.T) {
	for _, test := range []struct{ file, value, want string }{
		{"cpu.max", "max", "CPUQuotaPerSecUSec=@t 18446744073709551615"},
		{"cpu.max", "max 100000", "CPUQuotaPerSecUSec=@t 18446744073709551615 CPUQuotaPeriodUSec=@t 100000"},
		{"cpu.max", "50000", "CPUQuotaPerSecUSec=@t 500000"},
		{"cpu.max", "150000 50000", "CPUQuotaPerSecUSec=@t 3000000 CPUQuotaPeriodUSec=@t 50000"},
		{"cpu.max", "25500 100000", "CPUQuotaPerSecUSec=@t 260000 CPUQuotaPeriodUSec=@t 100000"},
		{"cpu.max", "1 0", ""},
		{"cpu.max", "1 max", ""},
		{"cpu.max", "18446744073709551614", ""},
		{"cpu.max", "", ""},
		{"cpu.max", "1 2 3", ""},
		{"cpu.weight", "100", "CPUWeight=@t 100"},
		{"cpu.weight", "-1", ""},
		{"cpuset.cpus", "0-2,9", "AllowedCPUs=@ay [0x7, 0x2]"},
		{"cpuset.cpus", "", "AllowedCPUs=@ay []"},
		{"cpuset.mems", "1", "AllowedMemoryNodes=@ay [0x2]"},
		{"cpuset.mems", "0-1:2/4", ""},
		{"memory.high", "1000", "MemoryHigh=@t 1000"},
		{"memory.low", "0", "MemoryLow=@t 0"},
		{"memory.max", "max", "MemoryMax=@t 18446744073709551615"},
		{"memory.min", "5", "MemoryMin=@t 5"},
		{"memory.max", "1M", ""},
		{"memory.swap.max", "max", "MemorySwapMax=@t 18446744073709551615"},
		{"pids.max", "7", "TasksMax=@t 7"},
	} {
		all, err := properties[test.file](test.value)
		if test.want == "" && errdefs.IsInvalidArgument(err) {
			continue
		}
		if got := spelled(all); err != nil || got != test.want {
			t.Errorf("%s %q: got %s, %v, want %q", test.file, test.value, got, err, test.want)
		}
	}
	for _, file := range []string{"memory.oom.group", "hugetlb.2MB.max", "hugetlb.2MB.limit_in_bytes"} {
		if properties[file] != nil {
			t.Errorf("systemd has no property for %s", file)
		}
	}
}

func spelled(all []systemd.Property) string {
	var parts []string
	for _, p := range all {
		parts = append(parts, p.Name+"="+typed(p.Value))
	}
	return strings.Join(parts, " ")
}

// typed spells a value with its type, which systemd insists on.
func typed(v dbus.Variant) string {
	text := v.String()
	if !strings.HasPrefix(text, "@") {
		text = "@" + v.Signature().String() + " " + text
	}
	return text
}

func FuzzParseList(f *testing.F) {
	for _, list := range []string{"", "0", "0-2,7", "65535", "3-1", "0-", ",", "70000"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		bits, err := parseList(list)
		if err == nil && list != "" && (len(bits) == 0 || len(bits) > 8192 || bits[len(bits)-1] == 0) {
			t.Errorf("%q: %v", list, bits)
		}
	})
}

func TestUnitName(t *testing.T) {
	for dir, want := range map[string]string{
		"/s/docker-1.scope": "docker-1.scope", "/s/a.slice": "a.slice", "/s/b.service": "b.service", "/s/rig/1": "", "/s/x.mount": "", "": "",
	} {
		if got := unitName(dir); got != want {
			t.Errorf("%s: got %q, want %q", dir, got, want)
		}
	}
}

// fakeSystemd answers on the bus as systemd does, and notes what it is asked for.
type fakeSystemd struct {
	refuse func(property string) *dbus.Error // may be nil
	write  func()                            // what it does to the cgroup for a property, after it has answered; may be nil

	mu     sync.Mutex
	seen   []string
	behind bool // it has not written yet
}

// catchUp is what it does before it looks for another call.
func (f *fakeSystemd) catchUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.behind && f.write != nil {
		f.write()
	}
	f.behind = false
}

// SetUnitProperties is called by the bus.
func (f *fakeSystemd) SetUnitProperties(unit string, runtime bool, all []systemd.Property) *dbus.Error {
	f.catchUp()
	f.mu.Lock()
	if len(all) > 0 {
		f.seen = append(f.seen, fmt.Sprintf("%s %v %s", unit, runtime, spelled(all)))
		f.behind = true
	}
	f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse(spelled(all))
	}
	return nil
}

func (f *fakeSystemd) want(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.seen, want) {
		t.Errorf("systemd was told %q, want %q", f.seen, want)
	}
}

// dialer connects to f without a bus between.
func (f *fakeSystemd) dialer(t *testing.T) Dialer {
	t.Helper()
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	return func(ctx context.Context) (*systemd.Conn, error) {
		return systemd.NewConnection(func() (*dbus.Conn, error) {
			client, clientEnd := net.Pipe()
			server, serverEnd := net.Pipe()
			work.Go(func() { f.serve(t, server) })
			work.Go(func() { join(t, clientEnd, serverEnd) })
			conn, err := dbus.NewConn(client, dbus.WithContext(ctx))
			if err != nil {
				return nil, err
			}
			return conn, conn.Auth([]dbus.Auth{dbus.AuthAnonymous()})
		})
	}
}

func (f *fakeSystemd) serve(t *testing.T, end net.Conn) {
	conn, err := dbus.NewConn(end)
	if err != nil {
		t.Error(err)
		return
	}
	// Before it is let in: from then on there may be calls.
	must(t, conn.Export(f, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"), conn.Auth([]dbus.Auth{dbus.AuthAnonymous()}))
	<-conn.Context().Done()
}

// join lets both ends in, as each takes the other for the one that is asked, and
// then carries messages between them until one closes.
func join(t *testing.T, ends ...net.Conn) {
	readers := make([]*bufio.Reader, len(ends))
	for i, end := range ends {
		readers[i] = bufio.NewReader(end)
		if err := letIn(readers[i], end); err != nil {
			t.Error(err)
		}
	}
	var both sync.WaitGroup
	for i, reader := range readers {
		both.Go(func() {
			_, _ = io.Copy(ends[1-i], reader)
			_ = ends[1-i].Close()
		})
	}
	both.Wait()
}

func letIn(in *bufio.Reader, out io.Writer) error {
	for {
		line, err := in.ReadString('\n')
		answer := "OK 0123456789abcdef\r\n"
		switch strings.Trim(line, "\x00\r\n") {
		case "AUTH":
			answer = "REJECTED ANONYMOUS\r\n"
		case "BEGIN":
			return err
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(out, answer); err != nil {
			return err
		}
	}
}

func TestApplyTellsSystemd(t *testing.T) {
	g := fakeUnit(t, "docker-1.scope", map[string]string{"memory.high": "max", "cpu.max": "max 100000", "memory.oom.group": "0", "hugetlb.2MB.max": "max"})
	var f fakeSystemd
	g.hierarchies.Dial = f.dialer(t)
	l := Limits{HugePages: map[string]uint64{"2MB": 0}, Unified: map[string]string{"memory.high": "1000", "cpu.max": "25500 100000", "memory.oom.group": "1"}}
	if err := g.Apply(context.Background(), l, "systemd"); err != nil {
		t.Fatal(err)
	}
	f.want(t, "docker-1.scope true CPUQuotaPerSecUSec=@t 260000 CPUQuotaPeriodUSec=@t 100000", "docker-1.scope true MemoryHigh=@t 1000")
	wantFiles(t, g.dirs[""], map[string]string{"memory.high": "1000", "cpu.max": "25500 100000", "memory.oom.group": "1", "hugetlb.2MB.max": "0"})
}

// Systemd writes more than it was told, and later than it answers.
func TestSystemdWritesMore(t *testing.T) {
	for name, test := range map[string]struct {
		asked  map[string]string
		refuse string // a file
		want   map[string]string
	}{
		"what was asked for": {map[string]string{"cpu.max": "25500 100000", "memory.oom.group": "1", "memory.swap.max": "7"}, "",
			map[string]string{"cpu.max": "25500 100000", "cpu.weight": "9", "memory.oom.group": "1", "memory.swap.max": "7"}},
		"what was not": {map[string]string{"cpu.weight": "5", "memory.swap.max": "7"}, "",
			map[string]string{"cpu.max": "12345 100000", "cpu.weight": "5", "memory.oom.group": "1", "memory.swap.max": "7"}},
		"what was asked for and is taken back": {map[string]string{"cpu.weight": "5", "memory.swap.max": "7", "memory.zswap.max": "1"}, "memory.zswap.max",
			map[string]string{"cpu.max": "12345 100000", "cpu.weight": "9", "memory.oom.group": "1", "memory.swap.max": "6"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := fakeUnit(t, "docker-1.scope", map[string]string{"cpu.max": "12345 100000", "cpu.weight": "9", "memory.oom.group": "1", "memory.swap.max": "6"})
			if test.refuse != "" {
				refuseWrites(t, g.v2(test.refuse))
			}
			f := fakeSystemd{write: func() {
				put(t, g.v2("cpu.max"), "13000 100000\n")
				put(t, g.v2("memory.oom.group"), "0\n")
			}}
			g.hierarchies.Dial = f.dialer(t)
			err := g.Apply(context.Background(), Limits{Unified: test.asked}, "systemd")
			f.catchUp()
			if (err == nil) != (test.refuse == "") || err != nil && !strings.Contains(err.Error(), "unified "+test.refuse+"=") {
				t.Errorf("got %v", err)
			}
			wantFiles(t, g.dirs[""], test.want)
		})
	}
}

func TestApplyDoesNotTellSystemd(t *testing.T) {
	for name, driver := range map[string]string{"docker-1.scope": "cgroupfs", "x": "systemd"} {
		g := fakeUnit(t, name, map[string]string{"memory.high": "max"})
		var f fakeSystemd
		g.hierarchies.Dial = f.dialer(t)
		if err := g.Apply(context.Background(), Limits{Unified: map[string]string{"memory.high": "1000"}}, driver); err != nil {
			t.Fatal(err)
		}
		f.want(t)
	}
}

func TestApplyRestoresProperties(t *testing.T) {
	g := fakeUnit(t, "docker-1.scope", map[string]string{"cpuset.cpus": "", "memory.high": "500"})
	refuseWrites(t, g.v2("memory.oom.group"))
	var f fakeSystemd
	g.hierarchies.Dial = f.dialer(t)
	l := Limits{Unified: map[string]string{"cpuset.cpus": "0", "memory.high": "1000", "memory.oom.group": "1"}}
	if err := g.Apply(context.Background(), l, "systemd"); err == nil || !strings.Contains(err.Error(), "unified memory.oom.group=1: ") {
		t.Errorf("got %v", err)
	}
	f.want(t,
		"docker-1.scope true AllowedCPUs=@ay [0x1]", "docker-1.scope true MemoryHigh=@t 1000",
		"docker-1.scope true MemoryHigh=@t 500", "docker-1.scope true AllowedCPUs=@ay []")
	wantFiles(t, g.dirs[""], map[string]string{"memory.high": "500", "cpuset.cpus": ""})
}

func TestSystemdRefuses(t *testing.T) {
	g := fakeUnit(t, "docker-1.scope", map[string]string{"cpu.weight": "100", "memory.high": "500"})
	f := fakeSystemd{refuse: func(property string) *dbus.Error {
		if property == "MemoryHigh=@t 1000" {
			return dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{"too little"})
		}
		return nil
	}}
	g.hierarchies.Dial = f.dialer(t)
	err := g.Apply(context.Background(), Limits{Unified: map[string]string{"cpu.weight": "7", "memory.high": "1000"}}, "systemd")
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "unified memory.high=1000: ") || !strings.Contains(err.Error(), "too little") {
		t.Errorf("got %v", err)
	}
	wantFiles(t, g.dirs[""], map[string]string{"cpu.weight": "100", "memory.high": "500"})
}

func TestSystemdIsOutOfReach(t *testing.T) {
	g := fakeUnit(t, "docker-1.scope", map[string]string{"memory.high": "500"})
	g.hierarchies.Dial = func(context.Context) (*systemd.Conn, error) { return nil, errors.New("no socket") }
	err := g.Apply(context.Background(), Limits{Unified: map[string]string{"memory.high": "1"}}, "systemd")
	if !errdefs.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
	wantFiles(t, g.dirs[""], map[string]string{"memory.high": "500"})
}

// A caller that gives up leaves it open whether systemd did what it was asked.
func TestSystemdIsTooSlow(t *testing.T) {
	g := fakeUnit(t, "docker-1.scope", map[string]string{"memory.high": "500"})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	f := fakeSystemd{refuse: func(property string) *dbus.Error {
		if property == "MemoryHigh=@t 1000" {
			cancel()
			<-ended
		}
		return nil
	}}
	g.hierarchies.Dial = f.dialer(t)
	err := g.Apply(ctx, Limits{Unified: map[string]string{"memory.high": "1000"}}, "systemd")
	close(ended)
	if err == nil {
		t.Error("no error")
	}
	f.want(t, "docker-1.scope true MemoryHigh=@t 1000", "docker-1.scope true MemoryHigh=@t 500")
	wantFiles(t, g.dirs[""], map[string]string{"memory.high": "500"})
}
