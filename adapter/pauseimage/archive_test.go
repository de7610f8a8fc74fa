// SPDX-License-Identifier: Apache-2.0

package pauseimage

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestArchiveIsDeterministic(t *testing.T) {
	for _, names := range [][]string{{"amd64", "x86_64"}, {"arm64", "aarch64"}} {
		first := mustArchive(t, names[0])
		for _, name := range names {
			if !bytes.Equal(first, mustArchive(t, name)) {
				t.Errorf("archive for %s differs from an earlier one for %s", name, names[0])
			}
		}
	}
	if bytes.Equal(mustArchive(t, "amd64"), mustArchive(t, "arm64")) {
		t.Error("one archive for two architectures")
	}
}

func TestArchiveForUnknownArchitecture(t *testing.T) {
	for _, architecture := range []string{"", "riscv64", "AMD64", "amd64 "} {
		archive, err := Archive(architecture)
		if archive != nil || !errors.Is(err, errdefs.ErrFailedPrecondition) {
			t.Errorf("Archive(%q) = %d bytes, %v; want a failed precondition", architecture, len(archive), err)
		}
		if err != nil && !strings.Contains(err.Error(), "--pod-infra-container-image") {
			t.Errorf("Archive(%q) does not say what to do: %v", architecture, err)
		}
	}
}

func TestArchiveIsAnImage(t *testing.T) {
	for architecture, program := range map[string][]byte{"amd64": programAMD64, "arm64": programARM64} {
		t.Run(architecture, func(t *testing.T) {
			files := unpacked(t, mustArchive(t, architecture))

			var manifest []manifestEntry
			decode(t, files["manifest.json"], &manifest)
			if len(manifest) != 1 || len(manifest[0].Layers) != 1 || len(manifest[0].RepoTags) != 1 {
				t.Fatalf("manifest %+v, want one image with one layer and one name", manifest)
			}
			if manifest[0].RepoTags[0] != Reference {
				t.Errorf("image is named %s, want %s", manifest[0].RepoTags[0], Reference)
			}

			encoded := files[manifest[0].Config]
			if manifest[0].Config != digest(encoded)+".json" {
				t.Errorf("configuration %s is not named for its digest", manifest[0].Config)
			}
			var image config
			decode(t, encoded, &image)
			if image.Architecture != architecture || image.OS != "linux" {
				t.Errorf("image is for %s/%s, want linux/%s", image.OS, image.Architecture, architecture)
			}

			layer := files[manifest[0].Layers[0]]
			if got, want := image.RootFS.DiffIDs, "sha256:"+digest(layer); len(got) != 1 || got[0] != want {
				t.Errorf("layers %v, want only %s", got, want)
			}
			content := unpacked(t, layer)
			entrypoint := strings.TrimPrefix(image.Config.Entrypoint[0], "/")
			if len(content) != 1 || !bytes.Equal(content[entrypoint], program) {
				t.Errorf("the layer is not the program alone")
			}
			if image.Config.User != "65535:65535" {
				t.Errorf("image runs as %q, want an unprivileged user", image.Config.User)
			}
		})
	}
}

// TestReferenceBelongsToContent keeps the name true: an engine that has the
// reference is taken to have this image, so another image needs another tag.
func TestReferenceBelongsToContent(t *testing.T) {
	const tagged = "dockershimd.invalid/pause:1"
	identities := map[string]string{
		"amd64": "d566995dc7df5544e5bd2ebd0fb20f018bee53321de21d4bce0b5fcec0603a59",
		"arm64": "2917b42489c4c0fb5ad79418b2d28e7dc263141390ef74d478668bfe3fab48d0",
	}
	if Reference != tagged {
		t.Fatalf("the reference is now %s: record it here with the image ids that it stands for", Reference)
	}
	for architecture, want := range identities {
		var manifest []manifestEntry
		decode(t, unpacked(t, mustArchive(t, architecture))["manifest.json"], &manifest)
		if got := strings.TrimSuffix(manifest[0].Config, ".json"); got != want {
			t.Errorf("%s image is %s, but %s was %s: raise the tag and record the new ids here", architecture, got, tagged, want)
		}
	}
}

func mustArchive(t *testing.T, architecture string) []byte {
	t.Helper()
	archive, err := Archive(architecture)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// unpacked maps the names in a tar archive to their contents.
func unpacked(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(epoch) {
			t.Errorf("%s belongs to %d:%d and is from %v, want 0:0 and the epoch", header.Name, header.Uid, header.Gid, header.ModTime)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func decode(t *testing.T, encoded []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(encoded, into); err != nil {
		t.Fatalf("decode %q: %v", encoded, err)
	}
}
