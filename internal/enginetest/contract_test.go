// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/dockershimd/dockershimd/adapter"
	"github.com/dockershimd/dockershimd/internal/fakeengine"
)

var _ adapter.Engine = (*fakeengine.Engine)(nil)

func TestFakeEngine(t *testing.T) {
	Run(t, func(t *testing.T) Subject {
		fake := fakeengine.New(t.TempDir())
		fake.OnStart(busybox)
		fake.OnExec(busyboxExec)
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
		engine, err := adapter.Dial(host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { engine.Close() })
		return Subject{Engine: engine, Busybox: program, Publish: Serve}
	})
}
