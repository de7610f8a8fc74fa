// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestOver(t *testing.T) {
	old := Limits{HugePages: map[string]uint64{"2MB": 1, "1GB": 2}, Unified: map[string]string{"memory.high": "1"}}
	update := Limits{HugePages: map[string]uint64{"2MB": 0}}
	got := update.Over(old)
	want := Limits{HugePages: map[string]uint64{"2MB": 0, "1GB": 2}, Unified: map[string]string{"memory.high": "1"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got.Unified["memory.high"], got.HugePages["2MB"] = "2", 9
	if old.Unified["memory.high"] != "1" || update.HugePages["2MB"] != 0 {
		t.Error("the merged limits share a map with what they were made of")
	}
	if got := update.Over(Limits{}); !reflect.DeepEqual(got, update) {
		t.Errorf("over nothing: %v", got)
	}
	if !(Limits{}).Over(Limits{}).Empty() || update.Empty() || old.Empty() {
		t.Error("Empty is wrong")
	}
}

func TestNamesAreChecked(t *testing.T) {
	for _, size := range []string{"", "2M", "2mb", "02MB", "MB", "2MB/../x", "../2MB", "2MB.rsvd"} {
		wantInvalid(t, Limits{HugePages: map[string]uint64{size: 1}}, "hugepage_limits "+size)
	}
	for _, file := range []string{"", "memory", ".high", "cgroup.procs", "cgroup.freeze", "../memory.high", "a/b.c", "memory.high\x00"} {
		wantInvalid(t, Limits{Unified: map[string]string{file: "1"}}, "unified "+file)
	}
	wantInvalid(t, Limits{Unified: map[string]string{"memory.high": " "}}, "unified memory.high: no value")
	good := Limits{HugePages: map[string]uint64{"2MB": 1, "64KB": 0, "16GB": 1}, Unified: map[string]string{"memory.high": "1", "hugetlb.2MB.max": "1", "cpuset.cpus": ""}}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}

func wantInvalid(t *testing.T, l Limits, name string) {
	t.Helper()
	if err := l.check(); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), name) {
		t.Errorf("%q: %v", name, err)
	}
}
