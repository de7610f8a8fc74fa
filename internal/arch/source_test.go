// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// root is the top of the repository, seen from this package.
const root = "../.."

// module is the import path of the repository.
const module = "github.com/dockershimd/dockershimd"

// source is one Go file of the repository.
type source struct {
	path    string // from the top, with slashes: adapter/engine.go
	text    string
	file    *ast.File
	fset    *token.FileSet
	imports []imported
}

// imported is one import of a file. The name is "" where the package's own is used.
type imported struct{ name, path string }

// folder is the package of the file, such as "adapter" or "cmd/dockershimd".
func (s source) folder() string { return path.Dir(s.path) }

// test tells a test file from one that is built.
func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// daemon tells whether the file is of a package that the daemon is made of.
func (s source) daemon() bool {
	return !s.test() && !within(s.path, "internal") && !within(s.path, "test") && !within(s.path, "packaging")
}

// at is the place of a node, for messages.
func (s source) at(node ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(node.Pos()).Line)
}

// within tells whether a slash-separated path is folder or below it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// sources reads every Go file of the module, whatever its build constraints.
// Modules further down, such as those of the test tools, are not ours to judge.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || exists(filepath.Join(name, "go.mod"))) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		from, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		all = append(all, parsed(t, filepath.ToSlash(from), string(text)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parsed is the file at path with the given text.
func parsed(t *testing.T, path, text string) source {
	t.Helper()
	s := source{path: path, text: text, fset: token.NewFileSet()}
	var err error
	if s.file, err = parser.ParseFile(s.fset, path, text, parser.SkipObjectResolution); err != nil {
		t.Fatal(err)
	}
	for _, spec := range s.file.Imports {
		var i imported
		if i.path, err = strconv.Unquote(spec.Path.Value); err != nil {
			t.Fatal(err)
		}
		if spec.Name != nil {
			i.name = spec.Name.Name
		}
		s.imports = append(s.imports, i)
	}
	return s
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
