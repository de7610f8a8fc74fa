// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImageLoad takes an archive of "docker save". What is wrong with it is told in
// the stream. It does not look at its options.
func (e *Engine) ImageLoad(ctx context.Context, archive io.Reader, _ ...client.ImageLoadOption) (image.LoadResponse, error) {
	files, readErr := untar(archive)
	return call(ctx, e, Call{"ImageLoad", "", nil}, func() (image.LoadResponse, error) {
		var stream bytes.Buffer
		err := readErr
		if err == nil {
			err = e.load(files, &stream)
		}
		if err != nil {
			tellError(&stream, err)
		}
		return image.LoadResponse{Body: io.NopCloser(&stream), JSON: true}, nil
	})
}

func (e *Engine) load(files map[string][]byte, stream io.Writer) error {
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := decode(files, "manifest.json", &manifest); err != nil {
		return err
	}
	for _, m := range manifest {
		i, err := imageFrom(files, m.Config, m.Layers)
		if err != nil {
			return err
		}
		if err := e.loaded(i, m.RepoTags, stream); err != nil {
			return err
		}
	}
	return nil
}

// imageFrom reads one image of an archive.
func imageFrom(files map[string][]byte, configPath string, layers []string) (*storedImage, error) {
	var config ocispec.Image
	if err := decode(files, configPath, &config); err != nil {
		return nil, err
	}
	if len(layers) != len(config.RootFS.DiffIDs) {
		return nil, fmt.Errorf("invalid manifest, layers length mismatch: expected %d, got %d", len(config.RootFS.DiffIDs), len(layers))
	}
	i := &storedImage{id: digestOf(string(files[configPath])), config: config.Config, files: map[string]string{}}
	for n, layer := range layers {
		diffID := config.RootFS.DiffIDs[n].String()
		if digestOf(string(files[layer])) != diffID {
			return nil, fmt.Errorf("invalid diffID for layer %d: expected %q", n, diffID)
		}
		content, err := untar(bytes.NewReader(files[layer]))
		if err != nil {
			return nil, err
		}
		for name, file := range content {
			i.size += int64(len(file))
			i.files[path.Join("/", name)] = string(file)
		}
		i.layers = append(i.layers, diffID)
	}
	return i, nil
}

// loaded keeps the image, or the one that is there already, under the tags.
func (e *Engine) loaded(i *storedImage, tags []string, stream io.Writer) error {
	if known, err := e.findImage(i.id); err == nil {
		i = known
	} else {
		e.images = append(e.images, i)
	}
	for _, tag := range tags {
		named, err := reference.ParseNormalizedNamed(tag)
		if err != nil {
			return err
		}
		e.giveRef(i, storeName(named))
		tell(stream, map[string]any{"stream": "Loaded image: " + reference.FamiliarString(named) + "\n"})
	}
	if len(tags) == 0 {
		tell(stream, map[string]any{"stream": "Loaded image ID: " + i.id + "\n"})
	}
	e.imageEvent(i.config.Labels, events.ActionLoad, i.id, i.id)
	return nil
}

func decode(files map[string][]byte, name string, into any) error {
	content, ok := files[path.Clean(name)]
	if !ok {
		return fmt.Errorf("open %s: no such file or directory", name)
	}
	return json.Unmarshal(content, into)
}

// untar reads all regular files.
func untar(archive io.Reader) (map[string][]byte, error) {
	files := map[string][]byte{}
	for r := tar.NewReader(archive); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		files[path.Clean(header.Name)] = content
	}
}

// tell writes one message of a stream of JSON.
func tell(stream io.Writer, message map[string]any) {
	if err := json.NewEncoder(stream).Encode(message); err != nil {
		panic("fakeengine: " + err.Error())
	}
}

func tellError(stream io.Writer, err error) {
	tell(stream, map[string]any{"errorDetail": map[string]any{"message": err.Error()}, "error": err.Error()})
}
