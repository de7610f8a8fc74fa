// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// daemon is a dockershimd beside the rig's engine.
type daemon struct {
	endpoint string
	conf     string // CNI configurations
	process  *exec.Cmd
}

// startDaemon runs the program until stop. It uses its built-in network for as
// long as no test writes a CNI configuration.
func startDaemon() (*daemon, error) {
	dir := filepath.Join(os.Getenv("RIG_DIR"), "kubelet")
	d := &daemon{endpoint: "unix://" + filepath.Join(dir, "cri.sock"), conf: filepath.Join(dir, "net.d")}
	program := os.Getenv("DOCKERSHIMD")
	if program == "" {
		program = filepath.Join("..", "..", "bin", "dockershimd")
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%w: make bin/dockershimd builds it; DOCKERSHIMD may name another", err)
	}
	if err := os.MkdirAll(d.conf, 0o755); err != nil {
		return nil, err
	}
	// The rig keeps the logs of its folder when a test fails.
	log, err := os.Create(filepath.Join(os.Getenv("RIG_DIR"), "dockershimd.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.process = exec.Command(program,
		"--container-runtime-endpoint="+d.endpoint,
		"--docker-endpoint="+os.Getenv("ENGINE_HOST"),
		"--cri-dockerd-root-directory="+filepath.Join(dir, "state"),
		"--cni-conf-dir="+d.conf,
		"--cni-cache-dir="+filepath.Join(dir, "cache"),
		"--cni-bin-dir=/usr/lib/cni,/opt/cni/bin",
		"--netns-dir="+filepath.Join(dir, "netns"),
		"--network-default=bridge",
		"--v=4",
	)
	d.process.Stdout, d.process.Stderr = log, log
	return d, d.process.Start()
}

// stop ends the daemon as systemd would.
func (d *daemon) stop() error {
	return errors.Join(d.process.Process.Signal(syscall.SIGTERM), d.process.Wait())
}
