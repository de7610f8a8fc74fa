// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"archive/tar"
	"io"
	"path/filepath"

	"github.com/docker/docker/api/types/container"
)

// copyFile reads a file of a container that has never been started.
func copyFile(b *bench) {
	image := b.loadSmall()
	id := b.create(&container.Config{Image: image.id(), Cmd: []string{"none"}}, alone(), b.name("copied"))
	archive, stat, err := b.CopyFromContainer(b.Context(), id, "/etc/random")
	b.must("copy", err)
	defer archive.Close()
	files := tar.NewReader(archive)
	header, err := files.Next()
	b.must("read the archive", err)
	content, err := io.ReadAll(files)
	b.must("read the file", err)
	if header.Name != "random" || filepath.Base(stat.Name) != "random" || stat.LinkTarget != "" || int64(len(content)) != stat.Size || len(content) == 0 {
		b.Errorf("file %q of %d bytes, told as %+v", header.Name, len(content), stat)
	}
}

// copyMissing: neither the file nor the container is there.
func copyMissing(b *bench) {
	id := b.create(b.config(idle...), alone(), b.name("lacking"))
	for container, path := range map[string]string{id: "/no/such/file", "unheard-of": "/bin/busybox"} {
		_, _, err := b.CopyFromContainer(b.Context(), container, path)
		b.wantKind(path+" of "+container, err, notFound)
	}
}
