// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/system"
	"golang.org/x/sys/unix"

	"github.com/dockershimd/dockershimd/translate"
)

// node is what the adapter knows of the engine and its host. It is read at
// every connection to the engine, and again when the engine reloads its
// configuration; nobody changes it in place.
type node struct {
	translate.Facts
	info system.Info
}

// readNode asks the engine what it is and can do.
func (s *Server) readNode(ctx context.Context) (*node, error) {
	s.engine.NegotiateAPIVersion(ctx)
	info, err := s.engine.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the engine for its facts: %w", err)
	}
	n := &node{info: info}
	n.Facts = translate.Facts{
		APIVersion:    s.engine.ClientVersion(),
		EngineVersion: info.ServerVersion,
		CgroupDriver:  info.CgroupDriver,
		CgroupVersion: cgroupVersion(info),
		Runtimes:      translate.Runtimes(info),
		OOMScoreFloor: s.oomScoreFloor(),
		AppArmor:      appArmorEnabled(),
		SELinux:       exists("/sys/fs/selinux/enforce"),
		CDI:           len(info.CDISpecDirs) > 0,
	}
	if n.HugePages, n.UnifiedControllers, err = s.cgroups.Abilities(); err != nil {
		return nil, fmt.Errorf("look at the node's cgroups: %w", err)
	}
	if v := n.APIVersion; olderThan(v, oldestAPI) {
		return nil, fmt.Errorf("the engine speaks API %s; dockershimd needs API %s (Docker Engine 20.10) or newer: %w", v, oldestAPI, errdefs.ErrFailedPrecondition)
	}
	return n, nil
}

// cgroupVersion is 1 unless the engine says otherwise.
func cgroupVersion(info system.Info) int {
	if info.CgroupVersion == "2" {
		return 2
	}
	return 1
}

func appArmorEnabled() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(b), "Y")
}

// appArmorProfiles are the names of the profiles loaded into the kernel.
func appArmorProfiles() ([]string, error) {
	b, err := os.ReadFile("/sys/kernel/security/apparmor/profiles")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list AppArmor profiles: %w", err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, " (") // name (mode)
		names = append(names, name)
	}
	return names, nil
}

// anyOOMScore is the lowest adjustment there is: nothing is clamped.
const anyOOMScore = -1000

// oomScoreFloor is the lowest OOM score adjustment that containers may get.
// Without CAP_SYS_RESOURCE a process can lower none below its own (proc(5)),
// and runc then fails the start. Rootless and nested engines lack it.
func (s *Server) oomScoreFloor() int {
	switch s.config.OOMScoreAdj {
	case OOMScoreExact:
		return anyOOMScore
	case OOMScoreClamp:
		return 0
	}
	pid, err := enginePID(s.config.Endpoint)
	if err != nil {
		s.log.Info("engine process not found: OOM scores are passed on as they are", "reason", err.Error())
		return anyOOMScore
	}
	floor, err := oomScoreFloorOf(pid)
	if err != nil {
		s.log.Info("capabilities of the engine not readable: OOM scores are passed on as they are", "pid", pid, "reason", err.Error())
		return anyOOMScore
	}
	return floor
}

// enginePID is the process that serves the engine's socket. Under systemd's
// socket activation the socket's peer is pid 1, which made the socket, so only
// a peer called dockerd counts; else dockerd's default pid file is asked.
func enginePID(endpoint string) (int, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "unix" {
		return 0, fmt.Errorf("%q is not a local socket", endpoint)
	}
	pid, err := peerPID(u.Path)
	if err != nil {
		return 0, err
	}
	if isDockerd(pid) {
		return pid, nil
	}
	b, err := os.ReadFile("/run/docker.pid")
	if err != nil {
		return 0, fmt.Errorf("the peer of %s is process %d, not dockerd: %w", u.Path, pid, err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil || !isDockerd(pid) {
		return 0, errors.New("/run/docker.pid does not name a dockerd")
	}
	return pid, nil
}

func peerPID(socket string) (int, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return int(cred.Pid), nil
}

func isDockerd(pid int) bool {
	comm, err := os.ReadFile(procPath(pid, "comm"))
	return err == nil && strings.TrimSpace(string(comm)) == "dockerd"
}

// oomScoreFloorOf reads how low a process may set OOM score adjustments.
func oomScoreFloorOf(pid int) (int, error) {
	status, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return 0, err
	}
	caps, err := effectiveCapabilities(string(status))
	if err != nil {
		return 0, err
	}
	if caps&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return anyOOMScore, nil
	}
	own, err := os.ReadFile(procPath(pid, "oom_score_adj"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(own)))
}

// effectiveCapabilities finds the CapEff line of /proc/PID/status.
func effectiveCapabilities(status string) (uint64, error) {
	return strconv.ParseUint(statusField(status, "CapEff"), 16, 64)
}

// statusField is the value of a line of /proc/PID/status; "" where there is none.
func statusField(status, name string) string {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func procPath(pid int, file string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), file)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
