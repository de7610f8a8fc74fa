// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestArrows(t *testing.T) {
	report(t, sources(t), wrongArrows, wrongImporters, impureImports, wrongNames)
}

func TestArrowsAreNoticed(t *testing.T) {
	for _, test := range []struct{ path, text, problem string }{
		{"translate/x.go", `import "github.com/dockershimd/dockershimd/network"`, "translate may not import network"},
		{"adapter/x.go", `import "github.com/dockershimd/dockershimd/internal/fakeengine"`, "adapter may not import internal/fakeengine"},
		{"adapter/x.go", `import "github.com/dockershimd/dockershimd/translate"`, ""},
		{"adapter/x_test.go", `import "github.com/dockershimd/dockershimd/internal/fakeengine"`, ""},
		{"cache/x.go", ``, "cache has no row in arrows"},
		{"internal/anything/x.go", `import "github.com/dockershimd/dockershimd/adapter"`, ""},

		{"adapter/engine.go", `import "github.com/docker/docker/client"`, ""},
		{"adapter/images.go", `import "github.com/docker/docker/client"`, "github.com/docker/docker/client may be imported by adapter/engine.go only"},
		{"adapter/images_test.go", `import "github.com/docker/docker/client"`, ""},
		{"adapter/images.go", `import "github.com/docker/docker/api/types/image"`, ""},
		{"adapter/images.go", `import "github.com/docker/docker/pkg/ioutils"`, "github.com/docker/docker/pkg/ioutils may not be imported"},
		{"streaming/server.go", `import "github.com/docker/docker/api/types/container"`, "may be imported by adapter, translate only"},
		{"stats/x.go", `import "google.golang.org/grpc"`, "may be imported by cmd/dockershimd, adapter only"},
		{"adapter/exec.go", `import "google.golang.org/grpc/codes"`, "may be imported by adapter/errors.go, adapter/edge.go only"},
		{"adapter/x.go", `import "example.com/new/module"`, "example.com/new/module has no row in importers"},

		{"translate/x.go", `import "os"`, "translate may not import os"},
		{"translate/x.go", `import "net"`, "translate may not import net"},
		{"translate/x.go", `import "net/netip"`, ""},
		{"translate/x_test.go", `import "os"`, ""},

		{"network/x.go", `import "k8s.io/cri-api/pkg/apis/runtime/v1"`, "is named cri"},
		{"network/x_test.go", `import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"`, "is named cri"},
		{"network/x.go", `import cri "k8s.io/cri-api/pkg/apis/runtime/v1"`, ""},
		{"adapter/x.go", `import "github.com/docker/docker/errdefs"`, "use github.com/containerd/errdefs"},
		{"logs/x.go", `import "log/slog"`, "use k8s.io/klog/v2"},
		{"logs/x_test.go", `import "log"`, ""},
	} {
		t.Run(test.path+" "+test.text, func(t *testing.T) {
			s := parsed(t, test.path, "package x\n"+test.text)
			var found []string
			for _, check := range []check{wrongArrows, wrongImporters, impureImports, wrongNames} {
				found = append(found, check(s)...)
			}
			wantProblem(t, found, test.problem)
		})
	}
}

// check finds what is wrong with a file.
type check func(source) []string

func report(t *testing.T, all []source, checks ...check) {
	t.Helper()
	for _, s := range all {
		for _, check := range checks {
			for _, problem := range check(s) {
				t.Errorf("%s: %s", s.path, problem)
			}
		}
	}
}

// wantProblem wants exactly one problem that has the text of want in it, or none
// for "".
func wantProblem(t *testing.T, found []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(found) > 0:
		t.Errorf("found %q, want nothing", found)
	case want != "" && (len(found) != 1 || !strings.Contains(found[0], want)):
		t.Errorf("found %q, want %q", found, want)
	}
}

// wrongArrows finds imports among our own packages that no arrow allows.
func wrongArrows(s source) (problems []string) {
	if !s.daemon() {
		return nil
	}
	allowed, known := arrows[s.folder()]
	if !known {
		return []string{s.folder() + " has no row in arrows: a new package has to argue its way in"}
	}
	for _, i := range s.imports {
		if ours, found := strings.CutPrefix(i.path, module+"/"); found && !slices.Contains(allowed, ours) {
			problems = append(problems, fmt.Sprintf("%s may not import %s", s.folder(), ours))
		}
	}
	return problems
}

// wrongImporters finds imports from other modules that are not this file's to make.
func wrongImporters(s source) (problems []string) {
	if _, known := arrows[s.folder()]; !known || !s.daemon() {
		return nil // wrongArrows reports a package that nobody knows
	}
	for _, i := range s.imports {
		if standard(i.path) || within(i.path, module) || replaced[i.path] != "" {
			continue
		}
		row := longestRow(i.path)
		allowed := importers[row]
		switch {
		case row == "":
			problems = append(problems, i.path+" has no row in importers")
		case len(allowed) == 0:
			problems = append(problems, i.path+" may not be imported by the daemon")
		case !slices.Contains(allowed, s.folder()) && !slices.Contains(allowed, s.path):
			problems = append(problems, fmt.Sprintf("%s may be imported by %s only", i.path, strings.Join(allowed, ", ")))
		}
	}
	return problems
}

// longestRow is the key of importers that is nearest to an import path.
func longestRow(path string) (row string) {
	for candidate := range importers {
		if within(path, candidate) && len(candidate) > len(row) {
			row = candidate
		}
	}
	return row
}

// impureImports finds what lets translate do more than translate.
func impureImports(s source) (problems []string) {
	if s.folder() != "translate" || s.test() {
		return nil
	}
	for _, i := range s.imports {
		if standard(i.path) && !slices.Contains(pure, i.path) {
			problems = append(problems, "translate may not import "+i.path+": it is not in the list of what has no effects")
		}
	}
	return problems
}

// wrongNames finds imports under another name than the house's, and packages of
// which the daemon has another.
func wrongNames(s source) (problems []string) {
	for _, i := range s.imports {
		if name := names[i.path]; name != "" && i.name != name {
			problems = append(problems, fmt.Sprintf("%s is named %s", i.path, name))
		}
		if instead := replaced[i.path]; instead != "" && s.daemon() {
			problems = append(problems, fmt.Sprintf("%s: use %s", i.path, instead))
		}
	}
	return problems
}

// standard tells the standard library from modules, whose first element is a domain.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}
