// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/dockershimd/dockershimd/adapter"
	"github.com/dockershimd/dockershimd/internal/fakeengine"
)

var _ adapter.Engine = (*fakeengine.Engine)(nil)

func TestFakeEngine(t *testing.T) {
	Run(t, func(t *testing.T) Subject {
		fake := fakeengine.New(t.TempDir())
		fake.OnStart(busybox)
		return Subject{Engine: fake, Busybox: []byte("played below"), Publish: func(t *testing.T, r Remote) (string, string) {
			ref := "registry.test/library/" + strings.ToLower(path.Base(t.Name())) + ":1"
			return ref, fake.Publish(ref, fakeengine.Remote{
				Image:    fakeengine.Image{ID: r.ID()},
				Username: User, Password: r.Password, Broken: r.Broken, Hold: r.Hold,
			})
		}}
	})
}

func TestRealEngine(t *testing.T) {
	host := os.Getenv("ENGINE_HOST")
	if host == "" {
		t.Skip("ENGINE_HOST is not set: it names the endpoint of an engine to throw away")
	}
	program := StaticBusybox(t)
	Run(t, func(t *testing.T) Subject {
		engine, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { engine.Close() })
		return Subject{Engine: engine, Busybox: program, Publish: Serve}
	})
}

// busybox does on the fake what the commands of the suite do.
func busybox(c container.InspectResponse) fakeengine.Process {
	command := append([]string{c.Path}, c.Args...)
	var code int
	switch {
	case slices.Equal(command, idle):
		return fakeengine.Process{}
	case slices.Equal(command, missing):
		return fakeengine.Process{Error: fmt.Sprintf("exec: %q: no such file or directory", missing[0]), ExitCode: 127}
	case command[1] == "sh":
		if _, err := fmt.Sscanf(command[3], "exit %d", &code); err != nil {
			panic(err)
		}
		return fakeengine.Process{Exited: true, ExitCode: code}
	case command[1] == "grep":
		files := map[string]string{"/etc/resolv.conf": c.ResolvConfPath, "/etc/hostname": c.HostnamePath}
		return grep(command[3], files[command[4]])
	}
	panic(fmt.Sprint("the suite has no such command: ", command))
}

func grep(text, path string) fakeengine.Process {
	content, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	if slices.Contains(strings.Split(string(content), "\n"), text) {
		return fakeengine.Process{Exited: true}
	}
	return fakeengine.Process{Exited: true, ExitCode: 1}
}
