// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// inNamespace tells the test binary that it has been started again, in a mount
// namespace of its own.
const inNamespace = "STAGING_TEST_NAMESPACE"

// TestMain starts the tests again in a mount namespace of their own, so that
// nothing they mount is seen by the machine; all threads are in it then.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inNamespace) != "" {
		os.Exit(m.Run())
	}
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Env = append(os.Environ(), inNamespace+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the death of a thread counts as that of the parent
	if err := c.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "no mount namespace:", err)
		os.Exit(m.Run())
	}
	_ = c.Wait()
	os.Exit(c.ProcessState.ExitCode())
}

// world is an empty, shared file system, as a host's root is. All that a test
// mounts is in it, and goes with it.
func world(t *testing.T) string {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skip("needs root and a mount namespace of its own")
	}
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0)
	t.Cleanup(func() {
		if err := detach(dir); err != nil { // else what is mounted would be deleted
			panic(err)
		}
	})
	mount(t, "", dir, "", unix.MS_SHARED)
	return dir
}

// kernels runs the test on this kernel and on what is left of it if it had no
// mount_setattr, as before 5.12, or none of the new calls, as before 5.2.
func kernels(t *testing.T, test func(t *testing.T, old bool)) {
	t.Run("this", func(t *testing.T) { test(t, false) })
	t.Run("5.11", func(t *testing.T) {
		refuse(t, unix.ENOSYS, unix.SYS_MOUNT_SETATTR)
		test(t, true)
	})
	t.Run("5.1", func(t *testing.T) {
		refuse(t, unix.ENOSYS, unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT)
		test(t, true)
	})
}

// refuse lets the kernel answer calls with an error, to this thread. The thread
// ends with the test, as it stays locked.
func refuse(t *testing.T, errno unix.Errno, calls ...uint32) {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skip("needs root")
	}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number is at 0
	for _, call := range calls {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	if err := setSeccomp(&program); err != nil {
		t.Skip("needs seccomp: ", err)
	}
}

func mount(t *testing.T, source, target, kind string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(source, target, kind, flags, ""); err != nil {
		t.Fatalf("mount %s at %s: %v", source, target, err)
	}
}

// mounted lists what is mounted below dir, by path from there.
func mounted(t *testing.T, dir string) (all []string) {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if m.Mountpoint != dir {
			all = append(all, strings.TrimPrefix(m.Mountpoint, dir))
		}
	}
	return all
}

// write makes files, and directories where the path ends in a slash.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		parent := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			parent = path
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			t.Fatal(err)
		}
		if parent == path {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ready is a staging in a folder of the world that has been used before.
func ready(t *testing.T, world string) *Staging {
	t.Helper()
	s := New(filepath.Join(world, "staging"))
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	return s
}

// stage stages one mount under the key "key" in a folder of the world.
func stage(t *testing.T, world string, m Mount) (*Staging, string) {
	t.Helper()
	s := New(filepath.Join(world, "staging"))
	paths, err := s.Stage("key", []Mount{m})
	if err != nil {
		t.Fatal(err)
	}
	return s, paths[0]
}

// remove removes the key "key" and wants nothing to be left.
func remove(t *testing.T, s *Staging) {
	t.Helper()
	if err := s.Remove("key"); err != nil {
		t.Fatal(err)
	}
	wantNothing(t, s)
}

func wantNothing(t *testing.T, s *Staging) {
	t.Helper()
	if left := mounted(t, s.dir); len(left) > 0 {
		t.Errorf("still mounted: %q", left)
	}
	if left, err := os.ReadDir(s.dir); len(left) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
