// SPDX-License-Identifier: Apache-2.0

package pauseimage

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	_ "embed" // the programs
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

// Reference names the built-in image in the engine. No registry can ever serve
// it: RFC 6761 keeps the top-level domain "invalid" from resolving. The tag is
// raised whenever the image changes, so that an engine which already has the
// name has this very image.
const Reference = "dockershimd.invalid/pause:1"

//go:generate program/build.sh

var (
	//go:embed program/pause-amd64
	programAMD64 []byte
	//go:embed program/pause-arm64
	programARM64 []byte
)

// Archive returns the built-in image for a machine architecture as an archive
// in the format of `docker save`, for the engine to load. Architecture is what
// the engine's /info says (x86_64, aarch64) or Go's name of it (amd64, arm64).
// Equal architectures give equal bytes. Any other architecture is an
// errdefs.ErrFailedPrecondition: the node needs a pause image from elsewhere.
func Archive(architecture string) ([]byte, error) {
	switch architecture {
	case "amd64", "x86_64":
		return archive("amd64", programAMD64)
	case "arm64", "aarch64":
		return archive("arm64", programARM64)
	}
	return nil, fmt.Errorf("built-in pause image for architecture %q: there is none; load a pause image into the engine and name it with --pod-infra-container-image: %w",
		architecture, errdefs.ErrFailedPrecondition)
}

// archive packs program as the only file of a one-layer image. Only manifest.json
// has a fixed name; it is what both of the engine's image stores read.
func archive(architecture string, program []byte) ([]byte, error) {
	layer, err := packed(file{"pause", 0o555, program})
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(imageConfig(architecture, layer))
	if err != nil {
		return nil, fmt.Errorf("encode the pause image's configuration: %w", err)
	}
	configName := digest(config) + ".json"
	manifest, err := json.Marshal([]manifestEntry{{
		Config:   configName,
		RepoTags: []string{Reference},
		Layers:   []string{"layer.tar"},
	}})
	if err != nil {
		return nil, fmt.Errorf("encode the pause image's manifest: %w", err)
	}
	return packed(
		file{"layer.tar", 0o444, layer},
		file{configName, 0o444, config},
		file{"manifest.json", 0o444, manifest},
	)
}

// manifestEntry is one image of manifest.json.
type manifestEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// config is the part of the OCI image configuration that this image uses.
type config struct {
	Created      time.Time   `json:"created"`
	Architecture string      `json:"architecture"`
	OS           string      `json:"os"`
	Config       execution   `json:"config"`
	RootFS       rootFS      `json:"rootfs"`
	History      []historyOf `json:"history"`
}

type execution struct {
	User       string            `json:"User"`
	Entrypoint []string          `json:"Entrypoint"`
	Labels     map[string]string `json:"Labels"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type historyOf struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

func imageConfig(architecture string, layer []byte) config {
	return config{
		Created:      epoch,
		Architecture: architecture,
		OS:           "linux",
		Config: execution{
			// Sleeping and reaping need no privilege; a pod that wants
			// another user for its sandbox sets it when the container is
			// created.
			User:       "65535:65535",
			Entrypoint: []string{"/pause"},
			Labels: map[string]string{
				"org.opencontainers.image.title":    "dockershimd pause",
				"org.opencontainers.image.licenses": "Apache-2.0",
				"org.opencontainers.image.source":   "https://github.com/dockershimd/dockershimd",
			},
		},
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{"sha256:" + digest(layer)}},
		History: []historyOf{{Created: epoch, CreatedBy: "dockershimd: adapter/pauseimage"}},
	}
}

// epoch is the date of everything in the archive, which must not depend on when
// it is made.
var epoch = time.Unix(0, 0).UTC()

type file struct {
	name    string
	mode    int64
	content []byte
}

// packed is an uncompressed tar archive of files owned by root.
func packed(files ...file) ([]byte, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: epoch, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %s of the pause image: %w", f.name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("pack %s of the pause image: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack the pause image: %w", err)
	}
	return buffer.Bytes(), nil
}

// digest is the SHA-256 of content in hexadecimal.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
