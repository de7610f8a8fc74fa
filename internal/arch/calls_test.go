// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestCallsAndLicences(t *testing.T) {
	report(t, sources(t), bannedCalls, missingLicence)
}

func TestCallsAreNoticed(t *testing.T) {
	for _, test := range []struct{ path, text, problem string }{
		{"adapter/x.go", "package adapter\nimport \"os\"\nfunc f() { os.Exit(1) }", "adapter/x.go:3: os.Exit"},
		{"cmd/dockershimd/main.go", "package main\nimport \"os\"\nfunc main() { defer func() { os.Exit(1) }() }", ""},
		{"cmd/dockershimd/run.go", "package main\nimport \"os\"\nfunc run() { os.Exit(1) }", "os.Exit"},
		{"network/x_test.go", "package network\nimport \"os\"\nfunc plugin() { os.Exit(1) }", ""},
		{"adapter/x.go", "package adapter\nimport \"os\"\nvar exit = os.Exit", "os.Exit"},
		{"adapter/x.go", "package adapter\nimport system \"os\"\nfunc f() { system.Exit(1) }", "os.Exit"},
		{"adapter/x.go", "package adapter\nimport _ \"os\"\ntype T struct{}\nvar os T\nfunc (T) Exit(int) {}\nfunc f() { os.Exit(1) }", ""},
		{"logs/x.go", "package logs\nimport \"k8s.io/klog/v2\"\nfunc f() { klog.Fatalf(\"\") }", "klog.Fatalf"},
		{"logs/x.go", "package logs\nimport \"k8s.io/klog/v2\"\nfunc f() { klog.V(2) }", "klog.V"},
		{"logs/x.go", "package logs\nimport \"k8s.io/klog/v2\"\nfunc f() { klog.FromContext(nil).Info(\"\") }", ""},
		{"adapter/x.go", "package adapter\nimport \"context\"\nfunc f() { context.TODO() }", "context.TODO"},
		{"adapter/x_test.go", "package adapter\nimport \"context\"\nfunc f() { context.Background() }", ""},
		{"cmd/dockershimd/main.go", "package main\nimport \"context\"\nfunc main() { context.Background() }", ""},
		{"network/x_test.go", "package network\nimport \"time\"\nfunc f() { time.Sleep(1) }", "time.Sleep"},
		{"translate/x.go", "package translate\nimport \"time\"\nfunc f() { time.Now() }", "no clock"},
		{"stats/x.go", "package stats\nimport \"time\"\nfunc f() { time.Now() }", ""},
	} {
		t.Run(test.path, func(t *testing.T) {
			wantProblem(t, bannedCalls(parsed(t, test.path, test.text)), test.problem)
		})
	}
}

func TestMissingLicenceIsNoticed(t *testing.T) {
	for text, problem := range map[string]string{
		licence + "\n\npackage x\n":    "",
		"package x\n":                  "the first line",
		"\n" + licence + "\npackage x": "the first line",
	} {
		wantProblem(t, missingLicence(parsed(t, "x/x.go", text)), problem)
	}
}

// bannedCalls finds uses of functions where they do not belong, calls or not.
func bannedCalls(s source) (problems []string) {
	for _, declaration := range s.file.Decls {
		function := ""
		if f, is := declaration.(*ast.FuncDecl); is && f.Recv == nil {
			function = f.Name.Name
		}
		ast.Inspect(declaration, func(node ast.Node) bool {
			selector, is := node.(*ast.SelectorExpr)
			if !is {
				return true
			}
			name, is := selector.X.(*ast.Ident)
			if !is {
				return true
			}
			from := s.importNamed(name.Name)
			for _, b := range bans {
				if b.from == from && b.names.MatchString(selector.Sel.Name) && !b.allowed(s, function) {
					problems = append(problems, fmt.Sprintf("%s: %s.%s: %s", s.at(node), packageName(from), selector.Sel.Name, b.reason))
				}
			}
			return true
		})
	}
	return problems
}

// importNamed is the path of the import that a file knows by name, or "".
func (s source) importNamed(name string) string {
	for _, i := range s.imports {
		if i.name == name || i.name == "" && packageName(i.path) == name {
			return i.path
		}
	}
	return ""
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// packageName is the name that a package most likely has, from its import path.
func packageName(importPath string) string {
	last := path.Base(importPath)
	if majorVersion.MatchString(last) {
		last = path.Base(path.Dir(importPath))
	}
	return last
}

const licence = "// SPDX-License-Identifier: Apache-2.0"

// missingLicence finds files that do not begin with the licence.
func missingLicence(s source) []string {
	if first, _, _ := strings.Cut(s.text, "\n"); first != licence {
		return []string{"the first line is not " + licence}
	}
	return nil
}
