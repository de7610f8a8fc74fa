// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"maps"
	"slices"
	"testing"

	"github.com/docker/docker/api/types/system"
)

func TestRuntimes(t *testing.T) {
	status := func(features string) system.RuntimeWithStatus {
		return system.RuntimeWithStatus{Status: stringMap{featuresKey: features}}
	}
	got := Runtimes(system.Info{DefaultRuntime: "runc", Runtimes: map[string]system.RuntimeWithStatus{
		"runc":    status(`{"ociVersionMin":"1.0.0","mountOptions":["ro","rro"],"linux":{"namespaces":["user"]}}`),
		"old":     status(`{"mountOptions":["ro"]}`),
		"list":    status(`["rro"]`),
		"number":  status(`{"mountOptions":7}`),
		"garbage": status(`rro`),
		"empty":   status(``),
		"silent":  {},
	}})
	rro, none := RuntimeFeatures{RecursiveReadOnly: true}, RuntimeFeatures{}
	want := map[string]RuntimeFeatures{
		"": rro, "runc": rro, "old": none, "list": none, "number": none, "garbage": none, "empty": none, "silent": none,
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// An engine before 25.0 knows its runtimes, and nothing of their features.
func TestRuntimesWithoutDefault(t *testing.T) {
	got := Runtimes(system.Info{DefaultRuntime: "gone", Runtimes: map[string]system.RuntimeWithStatus{"runc": {}}})
	if want := map[string]RuntimeFeatures{"runc": {}}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := Runtimes(system.Info{}); len(got) != 0 {
		t.Errorf("an engine that says nothing has runtimes: %v", got)
	}
}

func TestHandlers(t *testing.T) {
	for api, want := range map[string][]string{
		"1.51": {"+", "runc+", "runsc-"},
		"1.44": {"+", "runc+", "runsc-"},
		"1.43": {"-", "runc-", "runsc-"}, // the runtime could, but the engine cannot ask for it
		"":     {"-", "runc-", "runsc-"},
	} {
		f := capable()
		f.APIVersion = api
		var got []string
		for _, h := range Handlers(f) {
			sign := "-"
			if h.Features.RecursiveReadOnlyMounts {
				sign = "+"
			}
			got = append(got, h.Name+sign)
			if h.Features.UserNamespaces {
				t.Errorf("API %s: handler %q is said to have user namespaces", api, h.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("API %q: %v, want %v", api, got, want)
		}
	}
	if got := Handlers(Facts{}); len(got) != 1 || got[0].Name != "" {
		t.Errorf("a node of which nothing is known has the handlers %v, want the default one", got)
	}
}
