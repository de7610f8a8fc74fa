// SPDX-License-Identifier: Apache-2.0

package pauseimage

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// TestEngineRunsImage loads the image into the engine at ENGINE_HOST, runs it as
// a sandbox would, and stops it well before the engine would have to kill it.
func TestEngineRunsImage(t *testing.T) {
	host := os.Getenv("ENGINE_HOST")
	if host == "" {
		t.Skip("ENGINE_HOST names no engine to load the image into")
	}
	engine, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	ctx := t.Context()

	info, err := engine.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := engine.ImageLoad(ctx, bytes.NewReader(mustArchive(t, info.Architecture)))
	if err != nil {
		t.Fatal(err)
	}
	progress, _ := io.ReadAll(loaded.Body)
	loaded.Body.Close()
	image, err := engine.ImageInspect(ctx, Reference)
	if err != nil {
		t.Fatalf("%s after loading it, which said %q: %v", Reference, progress, err)
	}
	t.Logf("%s %s: image %s, %d bytes", info.ServerVersion, info.Driver, image.ID, image.Size)

	created, err := engine.ContainerCreate(ctx, &container.Config{Image: Reference}, &container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer engine.ContainerRemove(ctx, created.ID, container.RemoveOptions{Force: true})
	if err := engine.ContainerStart(ctx, created.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	grace := 20
	began := time.Now()
	if err := engine.ContainerStop(ctx, created.ID, container.StopOptions{Timeout: &grace}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Duration(grace)*time.Second/2 {
		t.Errorf("stopping took %v: the program does not end on SIGTERM", took)
	} else {
		t.Logf("stopped in %v", took)
	}
	stopped, err := engine.ContainerInspect(ctx, created.ID)
	if err != nil {
		t.Fatal(err)
	}
	if stopped.State.ExitCode != 0 {
		t.Errorf("exit code %d, want 0", stopped.State.ExitCode)
	}
}
