// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// fake is a group in a directory that stands for a hierarchy of version 2, where
// memory and hugetlb may be enabled. Its process is the test's.
func fake(t *testing.T, files map[string]string) *Group { return fakeUnit(t, "x", files) }

func fakeUnit(t *testing.T, name string, files map[string]string) *Group {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "pod", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "cgroup.controllers"), "memory hugetlb\n")
	put(t, filepath.Join(root, "cgroup.subtree_control"), "\n")
	put(t, filepath.Join(root, "pod/cgroup.subtree_control"), "\n")
	for file, text := range files {
		put(t, filepath.Join(dir, file), text)
	}
	return &Group{
		hierarchies: &Hierarchies{mounts: map[string]mount{"": {"/", root}}, pageSizes: []string{"1GB", "2MB"}},
		pid:         os.Getpid(),
		dirs:        map[string]string{"": dir},
	}
}

// fakeV1 is fake, with all but what files of version 2 say in version 1.
func fakeV1(t *testing.T, files map[string]string, controllers ...string) *Group {
	t.Helper()
	g := fake(t, nil)
	dir := t.TempDir()
	for _, c := range controllers {
		g.dirs[c] = dir
		g.hierarchies.mounts[c] = mount{"/", filepath.Dir(dir)}
	}
	for file, text := range files {
		put(t, filepath.Join(dir, file), text)
	}
	return g
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// refuseWrites lets a file be read, but not written, not by root either.
func refuseWrites(t *testing.T, path string) {
	t.Helper()
	if err := os.Symlink("/proc/version", path); err != nil {
		t.Fatal(err)
	}
}

func wantFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for file := range want {
		got[file], _ = read(filepath.Join(dir, file))
	}
	if !maps.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
}

func TestOfRunningProcess(t *testing.T) {
	h, err := Mounted()
	if err != nil {
		t.Fatal(err)
	}
	g, err := h.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for controller, dir := range g.dirs {
		if !exists(dir) {
			t.Errorf("there is no %s, of controller %q", dir, controller)
		}
	}
}

func TestOfEndedProcess(t *testing.T) {
	h := &Hierarchies{}
	child := exec.Command("true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid := child.Process.Pid
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Of(pid); !errdefs.IsNotFound(err) {
		t.Errorf("a process nobody has waited for: %v", err)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{pid, 0, -1} {
		if _, err := h.Of(pid); !errdefs.IsNotFound(err) {
			t.Errorf("process %d: %v", pid, err)
		}
	}
	gone := fake(t, map[string]string{"memory.high": "max"})
	gone.pid = pid
	if _, err := gone.Limits(); !errdefs.IsNotFound(err) {
		t.Errorf("limits: %v", err)
	}
	if _, err := gone.MemoryInUse(); !errdefs.IsNotFound(err) {
		t.Errorf("memory: %v", err)
	}
	err := gone.Apply(context.Background(), Limits{Unified: map[string]string{"memory.low": "1"}}, "cgroupfs")
	if !errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) {
		t.Errorf("apply: %v", err)
	}
}
