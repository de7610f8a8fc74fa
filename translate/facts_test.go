// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestCan(t *testing.T) {
	for _, c := range []struct {
		api  string
		want map[Ability]bool
	}{
		{"", map[Ability]bool{}},
		{"1.9", map[Ability]bool{}}, // versions are numbers, not text
		{"1.41", map[Ability]bool{}},
		{"1.42", map[Ability]bool{StopSignalOption: true, ShimRuntimes: true}},
		{"1.43", map[Ability]bool{StopSignalOption: true, ShimRuntimes: true}},
		{"1.44", map[Ability]bool{StopSignalOption: true, ShimRuntimes: true, ReadOnlyModes: true}},
		{"1.51", map[Ability]bool{StopSignalOption: true, ShimRuntimes: true, ReadOnlyModes: true, ImageMounts: true}},
	} {
		for a, row := range abilities {
			if got := (Facts{APIVersion: c.api}).Can(a); got != c.want[a] {
				t.Errorf("API %q: %s: %v, want %v", c.api, row.name, got, c.want[a])
			}
		}
	}
}

// The message says which engine would do.
func TestRequire(t *testing.T) {
	old := Facts{APIVersion: "1.41", EngineVersion: "20.10.24"}
	for a, row := range abilities {
		err := old.Require(a)
		if !errdefs.IsFailedPrecondition(err) {
			t.Errorf("%s: %v, want a failed precondition", row.name, err)
			continue
		}
		for _, want := range []string{row.engine, row.api, "20.10.24", "1.41"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: does not say %s", err, want)
			}
		}
		if err := capable().Require(a); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestRuntime(t *testing.T) {
	old := capable()
	old.APIVersion = "1.41"
	for _, c := range []struct {
		facts   Facts
		handler string
		want    string
		isError func(error) bool
	}{
		{capable(), "", "", nil},
		{capable(), "docker", "", nil},
		{Facts{}, "", "", nil},
		{capable(), "runsc", "runsc", nil},
		{old, "runsc", "runsc", nil},
		{capable(), "io.containerd.kata.v2", "io.containerd.kata.v2", nil},
		{old, "io.containerd.kata.v2", "", errdefs.IsFailedPrecondition},
		{capable(), "kata", "", errdefs.IsInvalidArgument},
		{capable(), "io.containerd.kata", "", errdefs.IsInvalidArgument},
		{capable(), "io.containerd.../bin/sh.v1", "", errdefs.IsInvalidArgument},
		{capable(), "/usr/bin/kata", "", errdefs.IsInvalidArgument},
	} {
		got, err := c.facts.Runtime(c.handler)
		if got != c.want || (c.isError == nil) != (err == nil) || c.isError != nil && !c.isError(err) {
			t.Errorf("API %s: Runtime(%q) = %q, %v, want %q", c.facts.APIVersion, c.handler, got, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), c.handler) {
			t.Errorf("%v: does not name %q", err, c.handler)
		}
	}
}
