// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// baseEnvironment is what the stand-in for the Go image has in its environment.
// Its module proxy is a folder, so that the build needs no network.
var baseEnvironment = []string{
	"ENV PATH=/usr/local/go/bin:/bin HOME=/root GOTOOLCHAIN=local GOFLAGS=-mod=readonly GOPROXY=file:///proxy",
}

// base is the stand-in's root file system.
type base struct {
	goRoot   string // the machine's Go
	download string // its module cache, which has the layout of a module proxy
	busybox  string // a static one
	goSum    string // the text of go.sum
}

// pack writes the root file system as a tar archive.
func (b base) pack(to io.Writer) error {
	archive := tar.NewWriter(to)
	for _, folder := range []string{"tmp", "root", "bin"} {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: folder, Mode: 0o755}); err != nil {
			return err
		}
	}
	if err := packFile(archive, b.busybox, "bin/busybox"); err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/sh", Linkname: "busybox"}); err != nil {
		return err
	}
	for _, pack := range []func(*tar.Writer) error{b.packGo, b.packModules} {
		if err := pack(archive); err != nil {
			return err
		}
	}
	return archive.Close()
}

// packGo packs as much of Go as `go build` uses: the sources of the standard
// library, and the tools that compile and link.
func (b base) packGo(archive *tar.Writer) error {
	tools := "pkg/tool/linux_" + runtime.GOARCH
	for _, name := range []string{"go.env", "VERSION", "bin/go", tools + "/asm", tools + "/compile", tools + "/link"} {
		if err := packFile(archive, filepath.Join(b.goRoot, name), "usr/local/go/"+name); err != nil {
			return err
		}
	}
	unused := []string{"cmd", "testdata"}
	for _, top := range []string{"pkg/include", "src"} {
		err := filepath.WalkDir(filepath.Join(b.goRoot, top), func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && slices.Contains(unused, entry.Name()):
				return fs.SkipDir
			case !entry.Type().IsRegular() || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			name, err := filepath.Rel(b.goRoot, path)
			if err != nil {
				return err
			}
			return packFile(archive, path, "usr/local/go/"+name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// packModules packs what go.sum names, as far as it was downloaded. Modules that
// only tests need may be missing: the build does not ask for them.
func (b base) packModules(archive *tar.Writer) error {
	for line := range strings.Lines(b.goSum) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return fmt.Errorf("go.sum has the line %q", line)
		}
		name, version := escaped(fields[0]), escaped(fields[1])
		file := version + ".zip"
		if v, mod := strings.CutSuffix(version, "/go.mod"); mod {
			file = v + ".mod"
		}
		path := filepath.Join(b.download, name, "@v", file)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if err := packFile(archive, path, "proxy/"+name+"/@v/"+file); err != nil {
			return err
		}
	}
	return nil
}

var upper = regexp.MustCompile(`[A-Z]`)

// escaped is a module path or version as proxies spell it, for file systems that
// do not tell upper case from lower.
func escaped(name string) string {
	return upper.ReplaceAllStringFunc(name, func(letter string) string { return "!" + strings.ToLower(letter) })
}

// packFile packs the file at path under name, with its mode.
func packFile(archive *tar.Writer, path, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	header.Name = name
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}
