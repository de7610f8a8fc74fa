// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"os"
	"testing"
)

// TestUsage reads the usage of the test itself.
func TestUsage(t *testing.T) {
	h, err := Mounted()
	if err != nil {
		t.Fatal(err)
	}
	g, err := h.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	u, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU.GetTimestamp() == 0 || u.CPU.GetTimestamp() != u.Memory.GetTimestamp() {
		t.Errorf("times of %v and %v", u.CPU, u.Memory)
	}
	if m := u.Memory; m.GetUsageBytes() != nil && m.GetWorkingSetBytes().GetValue() > m.GetUsageBytes().GetValue() {
		t.Errorf("working set of %v", m)
	}
}
