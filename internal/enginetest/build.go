// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// testImage is an image of one layer: what "docker save" writes and what a
// registry keeps are made from it.
type testImage struct {
	config []byte // JSON
	layer  []byte // uncompressed tar
}

// newImage puts one executable or data file under path into an image.
func newImage(t testing.TB, config ocispec.ImageConfig, path string, content []byte) testImage {
	layer := tarOf(t, file{path, content})
	return testImage{layer: layer, config: jsonOf(t, map[string]any{
		"os": "linux", "architecture": runtime.GOARCH, "config": config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digestOf(layer)}},
	})}
}

// busyboxImage is the image that the suite's containers run.
func busyboxImage(t testing.TB, program []byte) testImage {
	config := ocispec.ImageConfig{
		Env:    []string{"PATH=/bin", "FROM_IMAGE=yes"},
		Cmd:    []string{"/bin/busybox", "sleep", "1000"},
		Labels: map[string]string{"enginetest.image": "yes"},
	}
	return newImage(t, config, "bin/busybox", program)
}

// smallImage is like no other image: no engine has its layer yet.
func smallImage(t testing.TB) testImage {
	return newImage(t, ocispec.ImageConfig{}, "etc/random", []byte(rand.Text()))
}

// StaticBusybox reads the program that $BUSYBOX names, or else the system's own.
func StaticBusybox(t testing.TB) []byte {
	t.Helper()
	paths := []string{"/bin/busybox", "/usr/bin/busybox"}
	if named := os.Getenv("BUSYBOX"); named != "" {
		paths = []string{named}
	}
	for _, path := range paths {
		program, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if err := checkStatic(program); err != nil {
			t.Fatalf("%s: %v; install busybox-static or set BUSYBOX", path, err)
		}
		return program
	}
	t.Fatalf("no busybox in %q; install busybox-static or set BUSYBOX", paths)
	return nil
}

// checkStatic refuses a program that needs a dynamic loader, which an image of
// one file does not have.
func checkStatic(program []byte) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return err
	}
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_INTERP {
			return errors.New("not a static program")
		}
	}
	return nil
}

// id is the engine's name for the image.
func (i testImage) id() string { return digestOf(i.config) }

// archive is the image in the form of "docker save".
func (i testImage) archive(t testing.TB, tags ...string) io.Reader {
	manifest := []map[string]any{{"Config": "config.json", "RepoTags": tags, "Layers": []string{"layer.tar"}}}
	return bytes.NewReader(tarOf(t,
		file{"manifest.json", jsonOf(t, manifest)},
		file{"config.json", i.config},
		file{"layer.tar", i.layer},
	))
}

type file struct {
	path    string
	content []byte
}

func tarOf(t testing.TB, files ...file) []byte {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, f := range files {
		header := &tar.Header{Name: f.path, Mode: 0o755, Size: int64(len(f.content)), Format: tar.FormatPAX}
		if err := errors.Join(w.WriteHeader(header), writeAll(w, f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func gzipOf(t testing.TB, content []byte) []byte {
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	if err := errors.Join(writeAll(w, content), w.Close()); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func writeAll(w io.Writer, content []byte) error {
	_, err := w.Write(content)
	return err
}

// digestOf names content, such as "sha256:2c26...".
func digestOf(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

func jsonOf(t testing.TB, v any) []byte {
	content, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
