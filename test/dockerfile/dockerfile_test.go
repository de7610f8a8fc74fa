// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
)

const (
	root         = "../.."
	baseImage    = "dockershimd.invalid/test/go:local"
	buildImage   = "dockershimd.invalid/test/build:local"
	releaseImage = "dockershimd.invalid/test/release:local"
	version      = "0.0.0-dockerfile-test"
)

// TestReleaseImage builds the release stage with the classic builder, which every
// supported engine has, and runs what comes out.
func TestReleaseImage(t *testing.T) {
	engine := dial(t)
	importBase(t, engine)
	buildStage(t, engine, "build", buildImage)
	buildStage(t, engine, "release", releaseImage)

	inspected, err := engine.ImageInspect(t.Context(), releaseImage)
	if err != nil {
		t.Fatal(err)
	}
	if got := inspected.Config.Labels["org.opencontainers.image.version"]; got != version {
		t.Errorf("the image says that it is version %q, want %q", got, version)
	}
	t.Logf("release image: %.1f MB", float64(inspected.Size)/1e6)

	id := create(t, engine)
	if files := filesOf(t, engine, id); !slices.Equal(files, []string{"usr/bin/dockershimd"}) {
		t.Errorf("the image has the files %q, want the daemon alone", files)
	}
	output, code := output(t, engine, id)
	if code != 0 || !strings.Contains(output, version) {
		t.Errorf("--version exits with %d and says %q, want 0 and %q", code, output, version)
	}
}

// dial reaches the engine at ENGINE_HOST.
func dial(t *testing.T) *client.Client {
	t.Helper()
	host := os.Getenv("ENGINE_HOST")
	if host == "" {
		t.Skip("ENGINE_HOST names no engine to build on")
	}
	if !exists(filepath.Join(root, "cmd/dockershimd/main.go")) {
		t.Skip("there is no cmd/dockershimd to build yet")
	}
	engine, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return engine
}

// importBase loads the stand-in for the Go image.
func importBase(t *testing.T, engine *client.Client) {
	t.Helper()
	goSum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox here: apt-get install busybox-static")
	}
	rootfs := base{
		goRoot:   goEnv(t, "GOROOT"),
		download: filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download"),
		busybox:  busybox,
		goSum:    string(goSum),
	}
	source := image.ImportSource{Source: packed(rootfs.pack), SourceName: "-"}
	progress, err := engine.ImageImport(t.Context(), source, baseImage, image.ImportOptions{Changes: baseEnvironment})
	if err != nil {
		t.Fatal(err)
	}
	follow(t, progress)
	removeAtEnd(t, engine, baseImage)
}

// buildStage builds up to a stage, without the network, and names it, so that it
// can be removed. A later stage finds the earlier one in the engine's build cache;
// the base image is new each time, so nothing is found there from earlier runs.
func buildStage(t *testing.T, engine *client.Client, stage, name string) {
	t.Helper()
	goImage, stamp := baseImage, version
	source := packed(func(to io.Writer) error { return packContext(root, to) })
	response, err := engine.ImageBuild(t.Context(), source, build.ImageBuildOptions{
		Version:     build.BuilderV1,
		Target:      stage,
		Tags:        []string{name},
		BuildArgs:   map[string]*string{"GO_IMAGE": &goImage, "VERSION": &stamp},
		NetworkMode: "none",
		Remove:      true,
		ForceRemove: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	follow(t, response.Body)
	removeAtEnd(t, engine, name)
}

// create makes a container of the release image that asks for its version.
func create(t *testing.T, engine *client.Client) (id string) {
	t.Helper()
	created, err := engine.ContainerCreate(t.Context(),
		&container.Config{Image: releaseImage, Cmd: []string{"--version"}},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.ContainerRemove(context.Background(), created.ID, container.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	return created.ID
}

// filesOf lists the files with content in a container that has not run; the
// engine adds empty ones to mount over.
func filesOf(t *testing.T, engine *client.Client, id string) (files []string) {
	t.Helper()
	exported, err := engine.ContainerExport(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer exported.Close()
	archive := tar.NewReader(exported)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg && header.Size > 0 {
			files = append(files, header.Name)
		}
	}
}

// output runs a container and is what it wrote, with its exit code.
func output(t *testing.T, engine *client.Client, id string) (text string, code int64) {
	t.Helper()
	exits, failures := engine.ContainerWait(t.Context(), id, container.WaitConditionNextExit)
	if err := engine.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case exit := <-exits:
		code = exit.StatusCode
	case err := <-failures:
		t.Fatal(err)
	}
	logs, err := engine.ContainerLogs(t.Context(), id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	var both bytes.Buffer
	if _, err := stdcopy.StdCopy(&both, &both, logs); err != nil {
		t.Fatal(err)
	}
	return both.String(), code
}

// follow reads an import's or a build's progress to its end, and fails with what
// it said if it failed.
func follow(t *testing.T, progress io.ReadCloser) {
	t.Helper()
	defer progress.Close()
	var said strings.Builder
	for messages := json.NewDecoder(progress); ; {
		var message struct{ Stream, Status, Error string }
		err := messages.Decode(&message)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v after\n%s", err, &said)
		}
		said.WriteString(message.Stream + message.Status)
		if message.Error != "" {
			t.Fatalf("%s after\n%s", message.Error, &said)
		}
	}
}

// packed is what pack writes, while it writes it.
func packed(pack func(io.Writer) error) io.Reader {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(pack(writer)) }()
	return reader
}

func removeAtEnd(t *testing.T, engine *client.Client, name string) {
	t.Cleanup(func() {
		if _, err := engine.ImageRemove(context.Background(), name, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil {
			t.Log(err)
		}
	})
}

// goEnv asks Go for one of its settings. Under sudo it asks for those of the user
// who called, whose module cache has what the tests were built from.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	command := exec.Command("go", "env", name)
	command.Env = os.Environ()
	if caller, err := user.Lookup(os.Getenv("SUDO_USER")); err == nil {
		command.Env = append(command.Env, "HOME="+caller.HomeDir)
	}
	value, err := command.Output()
	if err != nil {
		t.Skipf("%s: %v", command, err)
	}
	return strings.TrimSpace(string(value))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
