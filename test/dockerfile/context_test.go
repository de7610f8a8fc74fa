// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ignore is a .dockerignore of the form that ours has: nothing, but some paths,
// without files and folders of some names.
type ignore struct {
	but     []string // paths from the top
	without []string // patterns of names
}

// parseIgnore reads a .dockerignore. The engine leaves it to its clients to
// follow one, so a client that does not understand a line must say so.
func parseIgnore(text string) (ignore, error) {
	var parsed ignore
	nothing := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		but, isBut := strings.CutPrefix(line, "!")
		without, isWithout := strings.CutPrefix(line, "**/")
		switch {
		case line == "*" && !nothing:
			nothing = true
		case isBut && nothing:
			parsed.but = append(parsed.but, but)
		case isWithout && nothing && !strings.Contains(without, "/"):
			parsed.without = append(parsed.without, without)
		default:
			return ignore{}, fmt.Errorf(".dockerignore: the test does not understand %q", line)
		}
	}
	return parsed, nil
}

// excludes tells whether a file or folder of that name stays out.
func (i ignore) excludes(name string) (bool, error) {
	for _, pattern := range i.without {
		if match, err := filepath.Match(pattern, name); match || err != nil {
			return match, err
		}
	}
	return false, nil
}

// packContext writes the build context as a tar archive: the Dockerfile, and what
// .dockerignore lets through.
func packContext(root string, to io.Writer) error {
	text, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		return err
	}
	rules, err := parseIgnore(string(text))
	if err != nil {
		return err
	}
	archive := tar.NewWriter(to)
	for _, top := range append([]string{"Dockerfile"}, rules.but...) {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil // a package that does not exist yet
			}
			if err != nil {
				return err
			}
			excluded, err := rules.excludes(entry.Name())
			switch {
			case err != nil:
				return err
			case excluded && entry.IsDir():
				return fs.SkipDir
			case excluded || !entry.Type().IsRegular():
				return nil
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			return packFile(archive, path, name)
		})
		if err != nil {
			return err
		}
	}
	return archive.Close()
}

func TestParseIgnore(t *testing.T) {
	rules, err := parseIgnore("# c\n*\n!go.mod\n!cmd\n**/*_test.go\n**/testdata\n")
	if err != nil || strings.Join(rules.but, " ") != "go.mod cmd" {
		t.Fatalf("%+v, %v", rules, err)
	}
	for name, want := range map[string]bool{"x_test.go": true, "testdata": true, "x.go": false, "cmd": false} {
		if got, err := rules.excludes(name); got != want || err != nil {
			t.Errorf("excludes(%q) = %v, %v; want %v", name, got, err, want)
		}
	}
	for _, text := range []string{"!go.mod\n*\n", "*\ncmd\n", "*\n**/a/b\n", "*\n*\n"} {
		if _, err := parseIgnore(text); err == nil {
			t.Errorf("%q is understood", text)
		}
	}
}
