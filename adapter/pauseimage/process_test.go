// SPDX-License-Identifier: Apache-2.0

package pauseimage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for a process; only a failure takes that long.
const patience = 10 * time.Second

func TestProgramEndsOnSignal(t *testing.T) {
	for _, p := range programs {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(p.architecture+"/"+signal.String(), func(t *testing.T) {
				pause := command(t, p.architecture, p.emulator)
				if err := pause.Start(); err != nil {
					t.Fatal(err)
				}
				killAtEnd(t, pause)
				waitUntil(t, "the program waits for signals", func() bool { return waits(pause.Process.Pid) })
				endsOn(t, pause, signal)
			})
		}
	}
}

// TestProgramAsPid1 gives the program what a pod with one process namespace
// gives it: children that end all at once, and a grandchild whose parent ends
// first. None may stay behind as a zombie.
func TestProgramAsPid1(t *testing.T) {
	const script = `
		for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done
		sh -c 'sleep 1000 & exec sleep 1000' &
		exec "$0"`
	program := path(t, runtime.GOARCH)
	pause := exec.Command("/bin/sh", "-c", script, program)
	pause.SysProcAttr = newPidNamespace()
	if err := pause.Start(); errors.Is(err, syscall.EPERM) {
		t.Skipf("no process namespace can be made here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	killAtEnd(t, pause)
	pid := pause.Process.Pid

	var children []int
	waitUntil(t, "the program has nine children and a grandchild", func() bool {
		children = childrenOf(t, pid)
		var grandchildren []int
		for _, child := range children {
			grandchildren = append(grandchildren, childrenOf(t, child)...)
		}
		running, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return len(children) == 9 && len(grandchildren) == 1 && err == nil && running == program
	})

	kill(t, children)
	var orphans []int
	waitUntil(t, "the children are reaped and the orphan is adopted", func() bool {
		orphans = childrenOf(t, pid)
		return len(orphans) == 1 && !slices.Contains(children, orphans[0])
	})
	kill(t, orphans)
	waitUntil(t, "the orphan is reaped", func() bool { return len(childrenOf(t, pid)) == 0 })
	endsOn(t, pause, syscall.SIGTERM)
}

// newPidNamespace asks for a process namespace, and without root for the user
// namespace that allows it.
func newPidNamespace() *syscall.SysProcAttr {
	if os.Geteuid() == 0 {
		return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
}

// path is where the program for an architecture lies.
func path(t *testing.T, architecture string) string {
	t.Helper()
	p, err := filepath.Abs("program/pause-" + architecture)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// command runs the program for an architecture, under the emulator if it is not
// this machine's.
func command(t *testing.T, architecture, emulator string) *exec.Cmd {
	t.Helper()
	if architecture == runtime.GOARCH {
		return exec.Command(path(t, architecture))
	}
	found, err := exec.LookPath(emulator)
	if err != nil {
		t.Skipf("no %s here: apt-get install qemu-user-static", emulator)
	}
	return exec.Command(found, path(t, architecture))
}

// endsOn sends signal and wants exit code 0 soon after.
func endsOn(t *testing.T, c *exec.Cmd, signal syscall.Signal) {
	t.Helper()
	if err := c.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer late.Stop()
	if err := c.Wait(); err != nil {
		t.Errorf("after %v: %v, want exit code 0 within %v", signal, err, patience)
	}
}

func killAtEnd(t *testing.T, c *exec.Cmd) {
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
}

func kill(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("kill %d: %v", pid, err)
		}
	}
}

// waits tells whether a process is in the call in which it takes its signals. A
// signal that comes before would end it by that signal's default action.
func waits(pid int) bool {
	current, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	return strings.HasPrefix(string(current), fmt.Sprintf("%d ", syscall.SYS_RT_SIGTIMEDWAIT))
}

// childrenOf lists the children of a process, zombies too; of one that is gone
// there are none.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
	var children []int
	for field := range strings.FieldsSeq(string(list)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, child)
	}
	return children
}

// waitUntil asks again and again, for /proc tells nobody when it changes.
func waitUntil(t *testing.T, what string, met func() bool) {
	t.Helper()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for !met() {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%v later it is still not so that %s", patience, what)
		}
	}
}
