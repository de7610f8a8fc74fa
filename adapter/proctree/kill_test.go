// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// sandbox marks the processes of these tests, which work in this folder, as a
// container's id marks in their cgroup those of the container. No other process
// is ever looked at.
var sandbox string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "proctree")
	if err != nil {
		panic(err)
	}
	sandbox = dir
	membership = func(pid int, id string) (bool, error) {
		dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if gone(err) {
			return false, err
		}
		return dir == id, nil
	}
	code := m.Run()
	os.Remove(dir)
	os.Exit(code)
}

func TestInCgroup(t *testing.T) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if in, err := inCgroup(os.Getpid(), string(own)); !in || err != nil {
		t.Errorf("%v, %v", in, err)
	}
	if in, err := inCgroup(os.Getpid(), "no-such-container"); in || err != nil {
		t.Errorf("%v, %v", in, err)
	}
	if _, err := inCgroup(1<<23, "x"); !gone(err) {
		t.Errorf("error %v", err)
	}
}

// command runs a script as the engine runs a command: in a session of its own,
// with pipes of its own. The script says "ready" when it has started all that it
// will, and everything but its own process is an orphan of ours.
func command(t *testing.T, script string) (pid int) {
	t.Helper()
	c := exec.Command("sh", "-c", script)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Dir = sandbox
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		// Whoever is left holds the pipes, and would be waited for.
		_ = Kill(context.WithoutCancel(t.Context()), sandbox, c.Process.Pid)
		in.Close()
		<-done
	})
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the script says %q, %v", line, err)
	}
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, lines)
		_ = c.Wait()
	}()
	return c.Process.Pid
}

// marked are the processes whose command line has the mark.
func marked(t *testing.T, mark string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file)
		var pid int
		_, _ = fmt.Sscanf(file, "/proc/%d/", &pid)
		if strings.Contains(string(text), mark) && pid != os.Getpid() {
			if p, err := readStat(pid); err == nil && !p.dead {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// await waits until a condition holds that other processes bring about.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Errorf("waited in vain: %s", what)
			return
		}
	}
}

// daemons are the marked processes that lead sessions, but for the command's own.
func daemons(t *testing.T, mark string, command int) (pids []int) {
	for _, pid := range marked(t, mark) {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if p, err := readStat(pid); err == nil && p.session == pid && pid != command && string(comm) == "sleep\n" {
			pids = append(pids, pid)
		}
	}
	return pids
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Each script's processes carry the mark %[1]s in their command lines.
var scripts = map[string]string{
	"alone":            "echo ready; exec sleep %[1]s",
	"child":            "echo ready; sleep %[1]s; true",
	"background":       "sleep %[1]s & sleep %[1]s & echo ready; wait",
	"orphan":           "(sleep %[1]s &); echo ready; sleep %[1]s; true",
	"session":          "setsid sleep %[1]s & echo ready; sleep %[1]s; true",
	"orphaned session": "(setsid sleep %[1]s &); echo ready; sleep %[1]s; true",
	"silent orphan":    "(sleep %[1]s >/dev/null 2>&1 </dev/null &); echo ready; sleep %[1]s; true",
	"deaf":             "trap '' TERM INT HUP; echo ready; sleep %[1]s; sleep %[1]s",
	"forks":            "(while sleep 0.02; do sleep %[1]s & done) & echo ready; sleep %[1]s",
	"ended before":     "(sleep %[1]s &); echo ready",
}

func TestKill(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			mark := fmt.Sprintf("100%d.1%09d", os.Getpid(), time.Now().UnixNano()%1e9)
			pid := command(t, fmt.Sprintf(script, mark))
			if err := Kill(limited(t), sandbox, pid); err != nil {
				t.Fatal(err)
			}
			if left := marked(t, mark); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// Its session, its parent and its streams have nothing to do with the command.
func TestKillLeavesDaemons(t *testing.T) {
	mark := fmt.Sprintf("100%d.5", os.Getpid())
	pid := command(t, fmt.Sprintf("(setsid sleep %[1]s </dev/null >/dev/null 2>&1 &); echo ready; sleep %[1]s; true", mark))
	await(t, "the daemon runs", func() bool { return len(daemons(t, mark, pid)) == 1 })
	if err := Kill(limited(t), sandbox, pid); err != nil {
		t.Error(err)
	}
	left := marked(t, mark)
	if len(left) != 1 {
		t.Errorf("left: %v, want the daemon alone", left)
	}
	for _, pid := range left {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

func TestKillLeavesOthersAlone(t *testing.T) {
	mark := fmt.Sprintf("100%d.6", os.Getpid())
	leader := command(t, fmt.Sprintf("sleep %[1]s & echo ready; sleep %[1]s; true", mark))
	var members []int
	await(t, "both children run", func() bool {
		members = slices.DeleteFunc(marked(t, mark), func(pid int) bool { return pid == leader })
		return len(members) == 2
	})
	for what, test := range map[string]struct {
		container string
		pid       int
		kind      func(error) bool
	}{
		"another container":       {"no-such-container", leader, errdefs.IsFailedPrecondition},
		"no command, but a child": {sandbox, members[0], errdefs.IsFailedPrecondition},
		"ourselves":               {sandbox, os.Getpid(), errdefs.IsFailedPrecondition},
		"nobody":                  {sandbox, 1 << 23, func(err error) bool { return err == nil }},
		"no pid":                  {sandbox, 0, errdefs.IsInvalidArgument},
	} {
		if err := Kill(limited(t), test.container, test.pid); !test.kind(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if left := marked(t, mark); len(left) != 3 {
		t.Errorf("left: %v", left)
	}
}

// A pid that was given out anew is another process's.
func TestReusedPID(t *testing.T) {
	mark := fmt.Sprintf("100%d.7", os.Getpid())
	pid := command(t, "echo ready; exec sleep "+mark)
	p, err := Find(sandbox, pid)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Error("a process that runs is not alive")
	}
	older := p
	older.start--
	if older.Alive() {
		t.Error("the process before is alive")
	}
	if err := older.Kill(limited(t)); err != nil {
		t.Error(err)
	}
	if !p.Alive() {
		t.Fatal("the process that has the pid now was killed")
	}
	if err := Kill(limited(t), sandbox, pid); err != nil || p.Alive() {
		t.Errorf("%v, alive: %v", err, p.Alive())
	}
}

func TestKillWithoutTime(t *testing.T) {
	pid := command(t, "echo ready; exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// The signal goes out all the same.
	if err := Kill(ctx, sandbox, pid); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := Kill(limited(t), sandbox, pid); err != nil {
		t.Error(err)
	}
}

func TestParseStat(t *testing.T) {
	const rest = " S 42 7 8 0 -1 4194560 980 0 0 0 1 0 0 0 20 0 1 0 56712 2322432 316"
	want := stat{start: 56712, parent: 42, group: 7, session: 8}
	for _, name := range []string{"sleep", "a b", ") S 1 1 (", "\n)", ""} {
		if got, err := parseStat("9 (" + name + ")" + rest); err != nil || got != want {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
	for _, bad := range []string{"", "9", "9 (a) S 1", "9 (a)" + strings.Replace(rest, "56712", "x", 1)} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add(") S")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = parseStat(text) })
}

// Streams that somebody had before the command are not the command's.
func TestKillLeavesElders(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	start := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(name, args...)
		c.SysProcAttr, c.Dir, c.Stdout = &syscall.SysProcAttr{Setsid: true}, sandbox, w
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		return c
	}
	elder := start("sleep", "1000")
	wait := time.NewTimer(30 * time.Millisecond) // the kernel's ticks are of 10
	<-wait.C
	young := start("sleep", "1000")
	old, err := Find(sandbox, elder.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := Kill(limited(t), sandbox, young.Process.Pid); err != nil {
		t.Error(err)
	}
	if !old.Alive() {
		t.Error("a process that ran before the command was killed")
	}
}

func BenchmarkReadTable(b *testing.B) {
	for b.Loop() {
		if _, err := readTable("no-such-container"); err != nil {
			b.Fatal(err)
		}
	}
}
