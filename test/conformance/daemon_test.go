// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// daemon is a dockershimd with files of its own.
type daemon struct {
	endpoint string
	images   cri.ImageServiceClient
}

// startDaemon returns when pods may come. The daemon ends with the test.
func startDaemon(t *testing.T, dir string) *daemon {
	t.Helper()
	d := &daemon{endpoint: "unix://" + filepath.Join(dir, "cri.sock")}
	conf := filepath.Join(dir, "net.d")
	must(t, os.Mkdir(conf, 0o755))
	log, err := os.Create(filepath.Join(os.Getenv("RIG_DIR"), filepath.Base(dir)+"-dockershimd.log"))
	must(t, err)
	t.Cleanup(func() { log.Close() })
	process := exec.Command(program(t, "DOCKERSHIMD", "dockershimd"),
		"--container-runtime-endpoint="+d.endpoint,
		"--docker-endpoint="+os.Getenv("ENGINE_HOST"),
		"--cri-dockerd-root-directory="+filepath.Join(dir, "state"),
		"--cni-conf-dir="+conf,
		"--cni-cache-dir="+filepath.Join(dir, "cache"),
		"--cni-bin-dir=/usr/lib/cni,/opt/cni/bin",
		"--netns-dir="+filepath.Join(dir, "netns"),
		"--network-default=bridge",
		"--v=6",
	)
	process.Stdout, process.Stderr = log, log
	must(t, process.Start())
	t.Cleanup(func() {
		if err := process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("the daemon ended by itself: %v", err)
		}
		if err := process.Wait(); err != nil {
			t.Errorf("the daemon ended with %v, see its log", err)
		}
	})
	conn, err := grpc.NewClient(d.endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	d.images = cri.NewImageServiceClient(conn)
	d.await(t, cri.NewRuntimeServiceClient(conn))
	return d
}

// await waits until runtime and network are ready.
func (d *daemon) await(t *testing.T, runtime cri.RuntimeServiceClient) {
	t.Helper()
	const patience = time.Minute
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		ready := 0
		status, err := runtime.Status(t.Context(), &cri.StatusRequest{})
		for _, c := range status.GetStatus().GetConditions() {
			if c.GetStatus() {
				ready++
			}
		}
		if err == nil && ready == len(status.GetStatus().GetConditions()) {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("the daemon is not ready: %v %v", status.GetStatus(), err)
		}
	}
}

// removeImages leaves an empty engine, since specs count images.
func (d *daemon) removeImages(t *testing.T) {
	t.Helper()
	list, err := d.images.ListImages(t.Context(), &cri.ListImagesRequest{})
	must(t, err)
	for _, i := range list.GetImages() {
		if _, err := d.images.RemoveImage(t.Context(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: i.GetId()}}); err != nil {
			t.Errorf("remove image %v: %v", i.GetRepoTags(), err)
		}
	}
}
