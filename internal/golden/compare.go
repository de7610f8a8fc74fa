// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Compare fails the test where the section called name of the page at path is
// not got, and shows how they differ. A missing last newline in got does not
// count. With UPDATE=1 the section is rewritten, the rest of the page kept.
func Compare(t testing.TB, path, name, got string) {
	t.Helper()
	page, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want, found := page.Content(name)
	switch {
	case found && want == ended(got):
	case updating():
		page.Set(name, got)
		write(t, path, page.Text())
	case !found:
		t.Errorf("%s has no section %q; UPDATE=1 adds it", path, name)
	default:
		t.Errorf("%s, section %q, is out of date; UPDATE=1 rewrites it\n%s", path, name, Diff(want, ended(got)))
	}
}

// File fails the test where the file at path is not got, byte for byte, and
// shows how they differ. With UPDATE=1 the file is rewritten, and made with its
// folder if it is not there.
func File(t testing.TB, path string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		t.Fatalf("read golden file: %v", err)
	}
	switch {
	case !missing && string(want) == string(got):
	case updating():
		write(t, path, got)
	case missing:
		t.Errorf("%s does not exist; UPDATE=1 writes it", path)
	default:
		t.Errorf("%s is out of date; UPDATE=1 rewrites it\n%s", path, Diff(string(want), string(got)))
	}
}

func updating() bool { return os.Getenv("UPDATE") == "1" }

func write(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatalf("write golden file: %v", err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatalf("write golden file: %v", err)
	}
	t.Logf("%s is rewritten", path)
}
