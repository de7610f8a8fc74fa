// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
)

// busybox is the image of the tests' containers.
const busybox = "localhost/integration:latest"

// Parts of it that tests look for.
const (
	page       = "Hello from a pod\n" // at /www/index.html
	imageLabel = "integration.image"
	imageUser  = "app" // its id is 1000, and it is in the group 50000 as well
	otherImage = "localhost/integration-user:latest"
)

var applets = []string{
	"cat", "echo", "false", "head", "httpd", "id", "mkdir", "mount", "nc", "setsid", "sh", "sha256sum", "sleep", "stat", "stty",
	"tail", "touch", "tr", "true", "tty", "wget",
}

// needImages makes the images that the engine does not have yet.
func (e engine) needImages(t testing.TB) {
	t.Helper()
	e.needImage(t, busybox, "ENV PATH=/bin", "LABEL "+imageLabel+"=of-the-image")
	e.needImage(t, otherImage, "ENV PATH=/bin", "USER "+imageUser)
}

func (e engine) needImage(t testing.TB, ref string, changes ...string) {
	t.Helper()
	if _, err := e.ImageInspect(context.Background(), ref); err == nil {
		return
	}
	e.makeImage(t, ref, imageFiles(t), changes...)
}

// makeImage imports a tar as an image of one layer.
func (e engine) makeImage(t testing.TB, ref string, files []byte, changes ...string) {
	t.Helper()
	progress, err := e.ImageImport(context.Background(), image.ImportSource{Source: bytes.NewReader(files), SourceName: "-"}, ref,
		image.ImportOptions{Changes: changes})
	if err != nil {
		t.Fatal(err)
	}
	defer progress.Close()
	if _, err := io.Copy(io.Discard, progress); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ImageInspect(context.Background(), ref); err != nil {
		t.Fatal(err)
	}
}

// removeImage forgets an image, if it is there.
func (e engine) removeImage(t testing.TB, ref string) {
	t.Helper()
	_, err := e.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		t.Fatal(err)
	}
}

// smallFiles are those of an image that is like no other.
func smallFiles(t testing.TB, content string) []byte {
	t.Helper()
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := errors.Join(writeFile(w, "content", []byte(content)), w.Close()); err != nil {
		t.Fatal(err)
	}
	return files.Bytes()
}

func imageFiles(t testing.TB) []byte {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("%v: install busybox-static", err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	errs := []error{
		writeFile(w, "bin/busybox", program),
		writeFile(w, "www/index.html", []byte(page)),
		writeFile(w, "etc/passwd", []byte("root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n")),
		writeFile(w, "etc/group", []byte("root:x:0:\napp:x:1000:\nextra:x:50000:app\n")),
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp", Mode: 0o1777}),
	}
	for _, name := range applets {
		errs = append(errs, w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox"}))
	}
	if err := errors.Join(append(errs, w.Close())...); err != nil {
		t.Fatal(err)
	}
	return files.Bytes()
}

func writeFile(w *tar.Writer, name string, content []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
