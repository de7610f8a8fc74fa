// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"slices"
	"testing"

	"github.com/containerd/errdefs"
)

func TestExactUser(t *testing.T) {
	const passwd = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:\n"
	const group = "root:x:0:\nweb:x:70:app\n"
	for spec, want := range map[string]string{
		"1000:1001": "1000:1001", "7:8": "7:8", // needs no files
		"app": "1000:1001", "1000": "1000:1001",
		"1234": "1234:0", "0": "0:0", "root": "0:0",
		"app:web": "1000:70", "1234:web": "1234:70", "app:70": "1000:70",
	} {
		got, _, err := ExactUser(spec, passwd, group)
		if err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", spec, got, err, want)
		}
		if IsExactUser(spec) != (got == spec) {
			t.Errorf("%s is exact: %t", spec, IsExactUser(spec))
		}
	}
	for _, spec := range []string{"nobody", "app:nobody"} {
		if _, _, err := ExactUser(spec, passwd, group); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", spec, err)
		}
	}
	if got, groups, err := ExactUser("1000", "", ""); err != nil || got != "1000:0" || groups != nil {
		t.Errorf("in an image without users: %s, %v, %v", got, groups, err)
	}
	if got, groups, err := ExactUser("app:77", passwd, group); err != nil || got != "1000:77" || !slices.Equal(groups, []string{"70"}) {
		t.Errorf("with a group of its own: %s, %v, %v", got, groups, err)
	}
}
