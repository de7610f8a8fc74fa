// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dockershimd/dockershimd/internal/golden"
)

const (
	command = "./cmd/dockershimd"
	page    = root + "/docs/dependencies.md"
)

func TestForbiddenModulesAreNotLinked(t *testing.T) {
	for _, linked := range linkedModules(t) {
		if reason := forbidden[linked]; reason != "" {
			t.Errorf("%s is linked into the daemon: %s (go mod why -m %s says by way of what)", linked, reason, linked)
		}
	}
}

// TestDependencyPage keeps docs/dependencies.md true: one row for each direct
// module, in the table where it belongs, and the list of what those bring along.
// UPDATE=1 writes the list; reasons are for people to write.
func TestDependencyPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	direct := directModules(t)
	linkedRows, testRows, err := rows(string(text))
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	for _, problem := range differences(direct, linkedRows, testRows) {
		t.Error(problem)
	}

	linked := linkedModules(t)
	for _, module := range slices.Concat(linkedRows, testRows) {
		if slices.Contains(linked, module) != slices.Contains(linkedRows, module) {
			t.Errorf("%s is in the wrong table of %s: linked into the daemon is %v", module, page, slices.Contains(linked, module))
		}
	}
	brought := slices.DeleteFunc(slices.Clone(linked), func(module string) bool { return slices.Contains(direct, module) })
	updated, err := withBrought(string(text), brought)
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	golden.File(t, page, []byte(updated))
}

// TestImportersAreModules finds rows of importers that nothing needs any more.
func TestImportersAreModules(t *testing.T) {
	direct := directModules(t)
	for path := range importers {
		if !slices.ContainsFunc(direct, func(module string) bool { return within(path, module) }) {
			t.Errorf("importers has a row for %s, which is no direct module of go.mod", path)
		}
	}
	for _, module := range direct {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(importers)), func(path string) bool { return within(path, module) }) {
			t.Errorf("importers has no row for %s", module)
		}
	}
}

func TestDependencyPageIsNoticed(t *testing.T) {
	const sample = "# D\n\n## Linked into the daemon\n\n| module | why |\n|---|---|\n| `a.b/c` | needed |\n\n" +
		"## Used by tests only\n\n| module | why |\n|---|---|\n| `a.b/t` | needed |\n\n" + generatedBegin + "\nold\n" + generatedEnd + "\n"
	linked, tests, err := rows(sample)
	if err != nil || !slices.Equal(linked, []string{"a.b/c"}) || !slices.Equal(tests, []string{"a.b/t"}) {
		t.Errorf("rows are %v, %v, %v", linked, tests, err)
	}
	for _, row := range []string{"| `a.b/c` | |", "| `a.b/c` | - |"} {
		if _, _, err := rows(strings.Replace(sample, "| `a.b/c` | needed |", row, 1)); err == nil {
			t.Errorf("%q passes without a reason", row)
		}
	}
	for _, test := range []struct {
		direct  []string
		problem string
	}{
		{[]string{"a.b/c", "a.b/t"}, ""},
		{[]string{"a.b/c", "a.b/t", "a.b/new"}, "a.b/new has no row"},
		{[]string{"a.b/c"}, "a.b/t has a row"},
	} {
		wantProblem(t, differences(test.direct, linked, tests), test.problem)
	}
	updated, err := withBrought(sample, []string{"x.y/z"})
	if err != nil || strings.Contains(updated, "old") || !strings.Contains(updated, "`x.y/z`") || !strings.HasPrefix(updated, "# D\n") {
		t.Errorf("updated page is %q, %v", updated, err)
	}
	if _, err := withBrought("# D\n", nil); err == nil {
		t.Error("a page without the generated part passes")
	}
}

// directModules are the modules that go.mod requires for our own imports.
func directModules(t *testing.T) (paths []string) {
	t.Helper()
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(run(t, "go", "mod", "edit", "-json"), &mod); err != nil {
		t.Fatalf("read go.mod: %v", err)
	}
	for _, require := range mod.Require {
		if !require.Indirect {
			paths = append(paths, require.Path)
		}
	}
	return paths
}

// linkedModules are the modules, other than this one, that have a package in the
// daemon, sorted.
func linkedModules(t *testing.T) []string {
	t.Helper()
	if !exists(filepath.Join(root, command, "main.go")) {
		t.Skipf("%s does not exist yet", command)
	}
	list := run(t, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", command)
	return slices.Compact(slices.Sorted(strings.FieldsSeq(string(list))))
}

// run is what a command prints, at the top of the repository. What is linked
// must not depend on the machine, so the platform is fixed.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	if !exists(filepath.Join(root, "go.mod")) { // go test reruns a test only when what it looked at itself has changed
		t.Fatal("no go.mod at the top of the repository")
	}
	c := exec.Command(name, args...)
	c.Dir = root
	c.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	output, err := c.Output()
	if exit, is := err.(*exec.ExitError); is {
		t.Fatalf("%s: %v\n%s", c, err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return output
}

var row = regexp.MustCompile("^\\| `([^`]+)` \\|(.*)\\|$")

// rows are the modules of the two tables of the page. A cell without a word in it
// is an error.
func rows(text string) (linked, tests []string, err error) {
	var table *[]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "## Linked"):
			table = &linked
		case strings.HasPrefix(line, "## Used by tests"):
			table = &tests
		case strings.HasPrefix(line, "## "):
			table = nil
		}
		cells := row.FindStringSubmatch(line)
		if table == nil || cells == nil {
			continue
		}
		for cell := range strings.SplitSeq(cells[2], "|") {
			if len(strings.TrimSpace(cell)) < 2 {
				return nil, nil, fmt.Errorf("the row of %s has an empty cell: say why it is needed and what it would cost to do without", cells[1])
			}
		}
		*table = append(*table, cells[1])
	}
	return linked, tests, nil
}

// differences are the direct modules without a row, and the rows without a module.
func differences(direct, linked, tests []string) (problems []string) {
	listed := slices.Concat(linked, tests)
	for _, module := range direct {
		if !slices.Contains(listed, module) {
			problems = append(problems, module+" has no row in docs/dependencies.md: write why it is needed and what it would cost to do without")
		}
	}
	for _, module := range listed {
		if !slices.Contains(direct, module) {
			problems = append(problems, module+" has a row in docs/dependencies.md, but go.mod does not require it directly")
		}
	}
	return problems
}

const (
	generatedBegin = "<!-- generated by internal/arch: make fix -->"
	generatedEnd   = "<!-- end of generated -->"
)

// withBrought is the page with its generated part made anew from the modules
// that the direct ones bring into the daemon.
func withBrought(text string, modules []string) (string, error) {
	before, rest, begun := strings.Cut(text, generatedBegin)
	_, after, ended := strings.Cut(rest, generatedEnd)
	if !begun || !ended {
		return "", fmt.Errorf("there is no part between %q and %q", generatedBegin, generatedEnd)
	}
	var list strings.Builder
	fmt.Fprintf(&list, "%d modules:\n\n", len(modules))
	for _, module := range modules {
		fmt.Fprintf(&list, "- `%s`\n", module)
	}
	return before + generatedBegin + "\n\n" + list.String() + "\n" + generatedEnd + after, nil
}
