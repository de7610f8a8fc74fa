// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestApplyWritesFiles(t *testing.T) {
	g := fake(t, map[string]string{"memory.high": "max", "hugetlb.2MB.max": "max", "hugetlb.2MB.rsvd.max": "max", "hugetlb.1GB.max": "max"})
	l := Limits{HugePages: map[string]uint64{"2MB": 4 << 20, "1GB": 0}, Unified: map[string]string{"memory.high": " 1000\n"}}
	for range 2 {
		if err := g.Apply(context.Background(), l, "cgroupfs"); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, g.dirs[""], map[string]string{"memory.high": "1000", "hugetlb.2MB.max": "4194304", "hugetlb.2MB.rsvd.max": "4194304", "hugetlb.1GB.max": "0", "hugetlb.1GB.rsvd.max": ""})
	}
}

func TestApplyHugePagesOfVersion1(t *testing.T) {
	g := fakeV1(t, map[string]string{"hugetlb.2MB.limit_in_bytes": "9223372036852678656", "hugetlb.2MB.rsvd.limit_in_bytes": "9223372036852678656", "hugetlb.1GB.limit_in_bytes": "7"}, "hugetlb")
	if err := g.Apply(context.Background(), Limits{HugePages: map[string]uint64{"2MB": 2 << 20, "1GB": 0}}, "systemd"); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, g.dirs["hugetlb"], map[string]string{"hugetlb.2MB.limit_in_bytes": "2097152", "hugetlb.2MB.rsvd.limit_in_bytes": "2097152", "hugetlb.1GB.limit_in_bytes": "0"})
}

func TestSettingsAreInOrder(t *testing.T) {
	g := fake(t, map[string]string{"memory.high": "max", "memory.max": "7", "hugetlb.2MB.max": "max", "hugetlb.2MB.rsvd.max": "max", "hugetlb.1GB.max": "max"})
	all, err := g.settings(Limits{HugePages: map[string]uint64{"2MB": 1, "1GB": 2}, Unified: map[string]string{"memory.max": "3", "memory.high": "4"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		got = append(got, filepath.Base(s.path)+" "+s.former+" "+s.value)
	}
	if got, want := strings.Join(got, ", "), "hugetlb.1GB.max max 2, hugetlb.2MB.max max 1, hugetlb.2MB.rsvd.max max 1, memory.high max 4, memory.max 7 3"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestApplyRestoresWhatItWrote(t *testing.T) {
	former := map[string]string{"hugetlb.2MB.max": "max", "io.max": "8:0 rbps=5 wbps=max riops=max wiops=max", "io.weight": "default 100", "cpuset.cpus": ""}
	g := fake(t, former)
	refuseWrites(t, g.v2("memory.high"))
	l := Limits{
		HugePages: map[string]uint64{"2MB": 1},
		Unified:   map[string]string{"cpuset.cpus": "0-1", "io.weight": "default 7", "io.max": "8:0 rbps=1", "memory.high": "4000", "memory.max": "1"},
	}
	put(t, g.v2("memory.max"), "never written")
	err := g.Apply(context.Background(), l, "cgroupfs")
	for _, part := range []string{"unified memory.high=4000: ", g.v2("memory.high")} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in the error: %v", part, err)
		}
	}
	former["memory.max"] = "never written"
	wantFiles(t, g.dirs[""], former)
}

// A device without a limit has no line in the former value, so that writing
// this again would leave the new limit.
func TestRestoreLiftsLimitsOfDevices(t *testing.T) {
	for file, want := range map[string]string{"io.max": "8:16 rbps=max wbps=max riops=max wiops=max", "io.weight": "8:16 default"} {
		g := fake(t, map[string]string{file: ""})
		s := setting{path: g.v2(file), value: "8:0 1\n8:16 1\ndefault 5", former: "8:0 2\n8:160 2"}
		reason := errors.New("the reason")
		if err := restored(context.Background(), unit{}, []setting{s}, reason); err != reason {
			t.Fatal(err)
		}
		wantFiles(t, g.dirs[""], map[string]string{file: want}) // a plain file keeps what was written last
	}
}

func TestApplyWithoutTheFile(t *testing.T) {
	huge := func(size string, n uint64) Limits { return Limits{HugePages: map[string]uint64{size: n}} }
	memory := Limits{Unified: map[string]string{"memory.high": "1"}}
	without := func(g *Group) *Group {
		g.hierarchies.mounts, g.dirs = nil, nil
		return g
	}
	inRoot := fake(t, nil)
	inRoot.dirs[""] = inRoot.hierarchies.mounts[""].point
	put(t, inRoot.v2("memory.high"), "max")
	for _, test := range []struct {
		name   string
		g      *Group
		limits Limits
		text   string // "" if it is no error
	}{
		{"no hugetlb, nothing to forbid", without(fake(t, nil)), huge("2MB", 0), ""},
		{"no hugetlb", without(fake(t, nil)), huge("2MB", 1), "hugepage_limits 2MB=1: this node has no such pages"},
		{"no such size, nothing to forbid", fake(t, nil), huge("16GB", 0), ""},
		{"no such size", fake(t, nil), huge("16GB", 1), "hugepage_limits 16GB=1: this node has no such pages"},
		{"not enabled by a kernel that should", fake(t, nil), huge("2MB", 1), "although the controller hugetlb is enabled"},
		{"no version 2", without(fake(t, nil)), memory, "unified memory.high=1: no hierarchy"},
		{"no controller", fake(t, nil), Limits{Unified: map[string]string{"cpu.max": "1"}}, "the cgroup2 hierarchy has no controller cpu"},
		{"the root group", inRoot, memory, "root cgroup"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.g.Apply(context.Background(), test.limits, "cgroupfs")
			if test.text == "" && err == nil {
				return
			}
			if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %q", err, test.text)
			}
		})
	}
}

func TestEnableOnlyWhereMissing(t *testing.T) {
	g := fake(t, nil)
	root := g.hierarchies.mounts[""].point
	put(t, filepath.Join(root, "cgroup.subtree_control"), "cpu memory\n")
	if err := g.enable("memory"); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, root, map[string]string{"cgroup.subtree_control": "cpu memory", "pod/cgroup.subtree_control": "+memory", "pod/x/cgroup.subtree_control": ""})
}
