// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"path"

	"github.com/docker/docker/api/types/container"
)

// CopyFromContainer knows the regular files of the container's image, and no
// directories or links.
func (e *Engine) CopyFromContainer(ctx context.Context, id, file string) (io.ReadCloser, container.PathStat, error) {
	type answer struct {
		archive []byte
		stat    container.PathStat
	}
	got, err := call(ctx, e, Call{"CopyFromContainer", id, file}, func() (answer, error) {
		c, err := e.find(id)
		if err != nil {
			return answer{}, err
		}
		image, err := e.findImage(c.Image)
		if err != nil {
			return answer{}, err
		}
		content, ok := image.files[path.Join("/", file)]
		if !ok {
			return answer{}, notFound("Could not find the file %s in container %s", file, id)
		}
		archive, err := tarOfFile(path.Base(file), content)
		return answer{archive, container.PathStat{Name: path.Base(file), Size: int64(len(content)), Mode: 0o755}}, err
	})
	if err != nil {
		return nil, container.PathStat{}, err
	}
	return io.NopCloser(bytes.NewReader(got.archive)), got.stat, nil
}

func tarOfFile(name, content string) ([]byte, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))})
	if err == nil {
		_, err = io.WriteString(w, content)
	}
	return buffer.Bytes(), errors.Join(err, w.Close())
}
