// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = "A case.\nOn two lines.\n-- request --\n{\"a\": 1}\n-- engine --\n{\n}\n"

func TestPageSurvivesReading(t *testing.T) {
	page, err := Read(written(t, sample))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(page.Text()); got != sample {
		t.Errorf("read and written again:\n%s", Diff(sample, got))
	}
	if page.Comment != "A case.\nOn two lines.\n" {
		t.Errorf("comment %q", page.Comment)
	}
	if request, found := page.Content("request"); !found || request != "{\"a\": 1}\n" {
		t.Errorf("request %q, %v", request, found)
	}
	if _, found := page.Content("Request"); found {
		t.Error("found a section under another name")
	}
}

func TestPageParsing(t *testing.T) {
	for _, test := range []struct{ name, text, again, problem string }{
		{name: "no last newline", text: "c\n-- a --\nx", again: "c\n-- a --\nx\n"},
		{name: "no comment, empty section", text: "-- a --\n-- b --\n", again: "-- a --\n-- b --\n"},
		{name: "not quite markers", text: "-- a --\n--b --\n-- --\n -- c --\n", again: "-- a --\n--b --\n-- --\n -- c --\n"},
		{name: "empty", text: "", problem: "no line of the form"},
		{name: "no section", text: "only words\n", problem: "no line of the form"},
		{name: "twice", text: "-- a --\n-- a --\n", problem: `"a" is there twice`},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := written(t, test.text)
			page, err := Read(path)
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) || !strings.Contains(err.Error(), path) {
					t.Errorf("error %v, want one that names the file and says %q", err, test.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(page.Text()); got != test.again {
				t.Errorf("read and written again:\n%s", Diff(test.again, got))
			}
		})
	}
}

func TestReadOfNoFile(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "none.txt")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want that the file does not exist", err)
	}
}

func TestPageSet(t *testing.T) {
	var page Page
	page.Set("a", "1")
	page.Set("b", "2\n")
	page.Set("a", "3")
	if got, want := string(page.Text()), "-- a --\n3\n-- b --\n2\n"; got != want {
		t.Errorf("page is\n%s", Diff(want, got))
	}
}

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.txt")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
