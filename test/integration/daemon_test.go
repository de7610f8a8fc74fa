// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// callTime bounds each call to the daemon, so that none hangs a test. The
// kubelet allows two minutes.
const callTime = time.Minute

// daemon is a dockershimd with files of its own.
type daemon struct {
	program string
	dir     string // holds all that follows
	socket  string
	conf    string // CNI configurations
	cache   string // CNI results
	netns   string // pinned namespaces
	plugins string // CNI plugins of the test, before the real ones
	logs    string // the log directory of pods
	logFile string // the daemon's own log
	flags   []string

	process *exec.Cmd
	conn    *grpc.ClientConn
	runtime cri.RuntimeServiceClient
	images  cri.ImageServiceClient
}

// newDaemon prepares a daemon, which is not started. More flags, or the same
// anew, may be given.
func newDaemon(t *testing.T, flags ...string) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv("RIG_DIR"), "daemon")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{
		program: program(t, "DOCKERSHIMD", "dockershimd"),
		dir:     dir,
		socket:  filepath.Join(dir, "cri.sock"),
		conf:    filepath.Join(dir, "net.d"),
		cache:   filepath.Join(dir, "cache"),
		netns:   filepath.Join(dir, "netns"),
		plugins: filepath.Join(dir, "plugins"),
		logs:    filepath.Join(dir, "pods"),
		// The rig keeps the logs of its folder when a test fails.
		logFile: filepath.Join(os.Getenv("RIG_DIR"), strings.ReplaceAll(t.Name(), "/", "-")+".log"),
	}
	d.flags = append([]string{
		"--container-runtime-endpoint=unix://" + d.socket,
		"--docker-endpoint=" + os.Getenv("ENGINE_HOST"),
		"--cri-dockerd-root-directory=" + filepath.Join(dir, "state"),
		"--cni-conf-dir=" + d.conf,
		"--cni-cache-dir=" + d.cache,
		"--cni-bin-dir=" + d.plugins + ",/usr/lib/cni,/opt/cni/bin",
		"--netns-dir=" + d.netns,
		"--v=6",
	}, flags...)
	for _, made := range []string{d.conf, d.plugins} {
		if err := os.Mkdir(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// start runs the daemon and returns when its socket takes connections.
func (d *daemon) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(d.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.process = exec.Command(d.program, d.flags...)
	d.process.Stdout, d.process.Stderr = log, log
	if err := d.process.Start(); err != nil {
		t.Fatal(err)
	}
	d.dial(t)
	eventually(t, "the daemon answers on its socket", func() bool {
		_, err := d.runtime.Status(context.Background(), &cri.StatusRequest{})
		return err == nil
	})
}

// dial makes a new connection, since an old one would wait a while before it
// notices that the daemon is back.
func (d *daemon) dial(t *testing.T) {
	t.Helper()
	if d.conn != nil {
		d.conn.Close()
	}
	limit := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		ctx, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		return invoke(ctx, method, request, reply, conn, options...)
	}
	conn, err := grpc.NewClient("unix://"+d.socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(limit),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}),
	)
	if err != nil {
		t.Fatal(err)
	}
	d.conn, d.runtime, d.images = conn, cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)
}

// end sends a signal and waits for the end.
func (d *daemon) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if d.process == nil {
		return
	}
	if err := d.process.Process.Signal(signal); err != nil {
		t.Errorf("the daemon ended by itself: %v", err)
	}
	err := d.process.Wait()
	if signal == syscall.SIGTERM && err != nil {
		t.Errorf("the daemon ended with %v, see its log", err)
	}
	d.process = nil
}

// log is what the daemon has logged so far.
func (d *daemon) log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(d.logFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
