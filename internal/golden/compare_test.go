// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// verdict is a test that is looked at instead of run: what it said, and whether
// it went on.
type verdict struct {
	testing.TB
	said    string
	failed  bool
	stopped bool
}

func (v *verdict) Helper()                           {}
func (v *verdict) Logf(format string, args ...any)   { v.said += fmt.Sprintf(format, args...) }
func (v *verdict) Errorf(format string, args ...any) { v.failed = true; v.Logf(format, args...) }
func (v *verdict) Fatal(args ...any)                 { v.Errorf("%s", fmt.Sprint(args...)); panic(v) }
func (v *verdict) Fatalf(format string, args ...any) { v.Errorf(format, args...); panic(v) }

// judge runs a comparison and says how it ended.
func judge(t *testing.T, compare func(testing.TB)) (v *verdict) {
	t.Helper()
	v = &verdict{TB: t}
	defer func() {
		if reason := recover(); reason != nil {
			if reason != any(v) {
				panic(reason)
			}
			v.stopped = true
		}
	}()
	compare(v)
	return v
}

func TestCompare(t *testing.T) {
	const rewritten = "A case.\nOn two lines.\n-- request --\n{\"a\": 1}\n-- engine --\n{\n  \"b\": 2\n}\n"
	for _, test := range []struct {
		name, update, section, got string
		failed                     bool
		file                       string
	}{
		{name: "equal", section: "engine", got: "{\n}\n", file: sample},
		{name: "equal but for the last newline", section: "engine", got: "{\n}", file: sample},
		{name: "different", section: "engine", got: "{\n  \"b\": 2\n}", failed: true, file: sample},
		{name: "UPDATE=0 is no update", update: "0", section: "engine", got: "{\n  \"b\": 2\n}", failed: true, file: sample},
		{name: "updated", update: "1", section: "engine", got: "{\n  \"b\": 2\n}", file: rewritten},
		{name: "no such section", section: "notices", got: "x", failed: true, file: sample},
		{name: "section added", update: "1", section: "notices", got: "x", file: sample + "-- notices --\nx\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("UPDATE", test.update)
			path := written(t, sample)
			v := judge(t, func(tb testing.TB) { Compare(tb, path, test.section, test.got) })
			if v.failed != test.failed {
				t.Errorf("failed is %v, want %v: %s", v.failed, test.failed, v.said)
			}
			if v.failed && (!strings.Contains(v.said, path) || !strings.Contains(v.said, "UPDATE=1")) {
				t.Errorf("the failure does not say which file and what to do: %s", v.said)
			}
			if got := contents(t, path); got != test.file {
				t.Errorf("the file is now\n%s", Diff(test.file, got))
			}
		})
	}
}

func TestCompareWithBrokenPage(t *testing.T) {
	t.Setenv("UPDATE", "1")
	path := written(t, "words of somebody\n")
	v := judge(t, func(tb testing.TB) { Compare(tb, path, "engine", "x") })
	if !v.stopped || contents(t, path) != "words of somebody\n" {
		t.Errorf("an update went over a file that is no page: %s", v.said)
	}
}

func TestFile(t *testing.T) {
	t.Run("made with its folder", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "docs", "flags.md")
		t.Setenv("UPDATE", "")
		if v := judge(t, func(tb testing.TB) { File(tb, path, []byte("x")) }); !v.failed {
			t.Error("a missing file passes")
		}
		t.Setenv("UPDATE", "1")
		if v := judge(t, func(tb testing.TB) { File(tb, path, []byte("x")) }); v.failed || contents(t, path) != "x" {
			t.Errorf("not written: %s", v.said)
		}
	})
	t.Run("bytes count", func(t *testing.T) {
		path := written(t, "x\n")
		t.Setenv("UPDATE", "")
		if v := judge(t, func(tb testing.TB) { File(tb, path, []byte("x")) }); !v.failed || !strings.Contains(v.said, "+x (no newline at the end)") {
			t.Errorf("a missing newline passes or is not shown: %s", v.said)
		}
		if v := judge(t, func(tb testing.TB) { File(tb, path, []byte("x\n")) }); v.failed {
			t.Errorf("equal files differ: %s", v.said)
		}
	})
	t.Run("not a file", func(t *testing.T) {
		t.Setenv("UPDATE", "1")
		folder := t.TempDir()
		if v := judge(t, func(tb testing.TB) { File(tb, folder, []byte("x")) }); !v.stopped {
			t.Errorf("a folder was compared: %s", v.said)
		}
	})
}

func contents(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
