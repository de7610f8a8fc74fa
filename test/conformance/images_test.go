// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Hosts of critest's images.
const (
	staging   = "gcr.io/k8s-staging-cri-tools/"
	e2eImages = "registry.k8s.io/e2e-test-images/"
)

// imageSet are the images that critest pulls, and the pause image of the daemon,
// by their references.
func imageSet(t *testing.T) map[string]v1.ImageIndex {
	t.Helper()
	ours := read(t, program(t, "IMAGEPROGRAM", "imageprogram"))
	base := newLayer(t, append(busyboxFiles(t), file("bin/ipcs", 0o755, ours), file("bin/pgrep", 0o755, ours)))
	image := func(config v1.Config, more ...entry) v1.ImageIndex {
		config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
		if len(more) == 0 {
			return newImage(t, config, base)
		}
		return newImage(t, config, base, newLayer(t, more))
	}
	// A file tells images apart, which would be the same otherwise.
	named := func(name string) v1.ImageIndex {
		return image(v1.Config{Cmd: []string{"sh"}}, file(name, 0o644, nil))
	}
	user := func(name string) v1.ImageIndex {
		return image(v1.Config{Cmd: []string{"sh"}, User: name})
	}
	nginx := file("usr/sbin/nginx", 0o755, ours)
	pause := func(version string) v1.ImageIndex {
		return newImage(t, v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535", Labels: map[string]string{"version": version}},
			newLayer(t, []entry{file("pause", 0o755, ours)}))
	}
	shared := named("same-image")
	return map[string]v1.ImageIndex{
		e2eImages + "busybox:1.29-2":                      image(v1.Config{Cmd: []string{"sh"}}),
		e2eImages + "nginx:1.14-2":                        image(v1.Config{Cmd: []string{"nginx", "80"}}, nginx),
		e2eImages + "httpd:2.4.39-4":                      image(v1.Config{Cmd: []string{"httpd", "80"}}, file("usr/local/bin/httpd", 0o755, ours)),
		e2eImages + "nonewprivs:1.3":                      image(v1.Config{Entrypoint: []string{"/nonewprivs"}}, file("nonewprivs", 0o4755, ours)),
		"registry.k8s.io/pause:3.9":                       pause("3.9"), // k8s.gcr.io has the same
		"registry.k8s.io/pause:3.10":                      pause("3.10"),
		staging + "test-image-1:latest":                   named("test-image-1"),
		staging + "test-image-2:latest":                   named("test-image-2"),
		staging + "test-image-3:latest":                   named("test-image-3"),
		staging + "test-image-latest:latest":              named("test-image-latest"),
		staging + "test-image-digest:latest":              named("test-image-digest"),
		staging + "test-image-tags:1":                     shared,
		staging + "test-image-tags:2":                     shared,
		staging + "test-image-tags:3":                     shared,
		staging + "test-image-tag:test":                   named("test"),
		staging + "test-image-tag:all":                    named("all"),
		staging + "test-image-user-uid:latest":            user("1002"),
		staging + "test-image-user-username:latest":       user("www-data"),
		staging + "test-image-user-uid-group:latest":      user("1003:1004"),
		staging + "test-image-user-username-group:latest": user("www-data:1004"),
		staging + "test-image-predefined-group:latest": image(v1.Config{Cmd: []string{"sh"}, User: "1000"},
			file("etc/passwd", 0o644, []byte(passwd+"default-user:x:1000:1000::/:/bin/sh\n")),
			file("etc/group", 0o644, []byte(group+"default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"))),
		staging + "hostnet-nginx-" + runtime.GOARCH + ":latest": image(v1.Config{Cmd: []string{"nginx", "12003"}}, nginx),
	}
}

// Users of the images, as in busybox's own.
const (
	passwd = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
	group  = "root:x:0:\nwww-data:x:33:\nnobody:x:65534:\n"
)

// busyboxFiles are a small system with a shell. Its busybox is the one that
// finds programs by PATH, as that of critest's own image does: Debian's static
// one has its own way, which hides whether a path is masked. Each name of it is
// a hard link, for the same reason: who masks a symbolic link masks all of them.
func busyboxFiles(t *testing.T) []entry {
	t.Helper()
	program := filepath.Join("..", "..", ".cache", "conformance", "busybox")
	busybox := read(t, program)
	entries := []entry{
		folder("tmp", 0o1777),
		folder("root", 0o700),
		folder("var/run", 0o755),
		file("etc/passwd", 0o644, []byte(passwd)),
		file("etc/group", 0o644, []byte(group)),
		file("bin/busybox", 0o755, busybox),
	}
	for _, applet := range strings.Fields(output(t, program, "--list")) {
		entries = append(entries, entry{header: tar.Header{Typeflag: tar.TypeLink, Name: "bin/" + applet, Linkname: "bin/busybox", Mode: 0o755}})
	}
	// ldd prints "NAME => PATH (ADDRESS)", and "PATH (ADDRESS)" of the loader.
	for _, word := range strings.Fields(output(t, "ldd", program)) {
		if strings.HasPrefix(word, "/") {
			entries = append(entries, file(strings.TrimPrefix(word, "/"), 0o755, read(t, word)))
		}
	}
	return entries
}

// entry is a file of an image.
type entry struct {
	header  tar.Header
	content []byte
}

func file(name string, mode int64, content []byte) entry {
	return entry{tar.Header{Name: name, Mode: mode, Size: int64(len(content))}, content}
}

func folder(name string, mode int64) entry {
	return entry{header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}}
}

// newImage makes an image for this machine, listed in an index as critest's own
// images are.
func newImage(t *testing.T, config v1.Config, layers ...v1.Layer) v1.ImageIndex {
	t.Helper()
	image, err := mutate.AppendLayers(empty.Image, layers...)
	must(t, err)
	content, err := image.ConfigFile()
	must(t, err)
	content.OS, content.Architecture, content.Config = "linux", runtime.GOARCH, config
	image, err = mutate.ConfigFile(image, content)
	must(t, err)
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.DockerManifestList), mutate.IndexAddendum{
		Add:        image,
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}},
	})
}

func newLayer(t *testing.T, entries []entry) v1.Layer {
	t.Helper()
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	for _, e := range withFolders(entries) {
		must(t, w.WriteHeader(&e.header))
		_, err := w.Write(e.content)
		must(t, err)
	}
	must(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil })
	must(t, err)
	return layer
}

// withFolders adds the folders that are not listed: old engines let nobody but
// root into those that they must think of themselves.
func withFolders(entries []entry) []entry {
	var all []entry
	known := map[string]bool{".": true}
	for _, e := range entries {
		var missing []entry
		for dir := path.Dir(e.header.Name); !known[dir]; dir = path.Dir(dir) {
			known[dir] = true
			missing = append(missing, folder(dir, 0o755))
		}
		slices.Reverse(missing)
		all = append(append(all, missing...), e)
		known[e.header.Name] = true
	}
	return all
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: make conformance prepares it", err)
	}
	return content
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	text, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(text)
}
