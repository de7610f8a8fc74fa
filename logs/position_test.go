// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPosition(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if p, noted := loadPosition(path); noted || p != (position{}) {
		t.Errorf("%+v of no file", p)
	}
	want := position{Spool: place{1, 2, 3}, Time: noon}
	want.Log.Inode, want.Log.Offset = 4, 5
	must(t, want.save(path), want.save(path))
	if p, noted := loadPosition(path); !noted || p != want {
		t.Errorf("%+v, %v", p, noted)
	}
	for _, garbage := range []string{"", "\x00\x00\x00\x00", `{"spool":{"inode":1`, "[]", `"x"`} {
		writeFile(t, path, garbage)
		if _, noted := loadPosition(path); noted {
			t.Errorf("%q is a position", garbage)
		}
	}
	writeFile(t, path+nextSuffix, "left by a crash")
	must(t, removePosition(path), removePosition(path))
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

func TestPositionTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	writeFile(t, path, "one\ntwo\n")
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	sums := map[uint32]int64{}
	for offset := range int64(10) {
		sum, err := tail(file, offset)
		must(t, err)
		if other, same := sums[sum]; same && offset < 9 {
			t.Errorf("the same before %d as before %d", offset, other)
		}
		sums[sum] = offset
	}
}
