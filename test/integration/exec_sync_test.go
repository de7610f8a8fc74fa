// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// execSync runs a shell script in the container.
func (c *workload) execSync(script string) *cri.ExecSyncResponse {
	c.Helper()
	r, err := c.runtime.ExecSync(c.Context(), &cri.ExecSyncRequest{ContainerId: c.id, Cmd: []string{"sh", "-c", script}})
	c.must("ExecSync of "+script, err)
	return r
}

// processes are the node's ids of all processes in the container.
func (c *workload) processes() map[int]string {
	c.Helper()
	all := map[int]string{}
	entries, err := os.ReadDir("/proc")
	c.must("list processes", err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cgroup, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cgroup"))
		status, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "status"))
		if strings.Contains(string(cgroup), c.id) && !strings.HasPrefix(field(string(status), "State"), "Z") {
			cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
			all[pid] = strings.ReplaceAll(string(cmdline), "\x00", " ")
		}
	}
	return all
}

// awaitProcesses waits until the container has the processes of before again.
func (c *workload) awaitProcesses(before map[int]string) {
	c.Helper()
	var now map[int]string
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(lookEvery) {
		now = c.processes()
		more := false
		for pid := range now {
			if _, was := before[pid]; !was {
				more = true
			}
		}
		if !more && len(now) == len(before) {
			return
		}
	}
	c.Errorf("processes %v, before there were %v", now, before)
}

// steady is a container whose processes stay as they are.
func (p *pod) steady(edits ...func(*cri.ContainerConfig)) *workload {
	p.Helper()
	c := p.container("", append([]func(*cri.ContainerConfig){func(c *cri.ContainerConfig) {
		c.Command, c.Args = []string{"sleep", "100000"}, nil
	}}, edits...)...)
	c.awaitExec()
	return c
}

// TestExecSync runs commands of all kinds.
func TestExecSync(t *testing.T) {
	n := newNode(t)
	c := n.pod().steady(func(c *cri.ContainerConfig) {
		c.WorkingDir = "/www"
		c.Envs = []*cri.KeyValue{{Key: "GREETING", Value: []byte("hello")}}
	})
	for script, want := range map[string]*cri.ExecSyncResponse{
		"echo out; echo err >&2; exit 7": {Stdout: []byte("out\n"), Stderr: []byte("err\n"), ExitCode: 7},
		"true":                           {},
		"kill -9 $$":                     {ExitCode: 137},
		`printf '\000\377\001'`:          {Stdout: []byte("\x00\xff\x01")},
		"pwd; echo $GREETING":            {Stdout: []byte("/www\nhello\n")},
		"cat":                            {},
		"tty":                            {Stdout: []byte("not a tty\n"), ExitCode: 1},
		"echo OCI runtime exec failed":   {Stdout: []byte("OCI runtime exec failed\n")},
	} {
		if got := c.execSync(script); !bytes.Equal(got.Stdout, want.Stdout) || !bytes.Equal(got.Stderr, want.Stderr) || got.ExitCode != want.ExitCode {
			n.Errorf("%s: %v, want %v", script, got, want)
		}
	}
	for i := range 40 {
		if got := c.execSync(fmt.Sprint("exit ", i)); got.ExitCode != int32(i) {
			n.Fatalf("exit code %d, want %d", got.ExitCode, i)
		}
	}
	n.sub("cannot be run", func(n *node) { c.in(n).testNotRunnable() })
	n.sub("much output", func(n *node) { c.in(n).testMuchOutput() })
}

func (c *workload) testNotRunnable() {
	for command, want := range map[string]struct {
		code   int32
		reason string
	}{
		"no-such-command":     {127, `exec: "no-such-command": executable file not found`},
		"/no/such/path":       {127, "no such file or directory"},
		"/www/index.html/sub": {126, ""},
		"/www":                {126, "/www"},
	} {
		r, err := c.runtime.ExecSync(c.Context(), &cri.ExecSyncRequest{ContainerId: c.id, Cmd: []string{command}})
		c.must("ExecSync of "+command, err)
		if r.ExitCode != want.code || !strings.Contains(string(r.Stderr), want.reason) || len(r.Stdout) > 0 {
			c.Errorf("%s: exit code %d, stderr %q, stdout %q; want %d, %q", command, r.ExitCode, r.Stderr, r.Stdout, want.code, want.reason)
		}
	}
}

func (c *workload) testMuchOutput() {
	const most = 16 << 20
	r := c.execSync("echo first; head -c 20000000 /dev/zero; echo last >&2; exit 3")
	if !bytes.HasPrefix(r.Stdout, []byte("first\n\x00")) || !bytes.HasSuffix(r.Stdout, []byte("an answer holds 16 MiB]\n")) || r.ExitCode != 3 {
		c.Errorf("begins with %q, ends with %q, exit code %d", r.Stdout[:10], r.Stdout[len(r.Stdout)-60:], r.ExitCode)
	}
	if size := len(r.Stdout) + len(r.Stderr); size > most || size < most-4096 {
		c.Errorf("%d bytes of output", size)
	}
	if r = c.execSync("head -c 16000000 /dev/zero; echo last >&2"); len(r.Stdout) != 16000000 || string(r.Stderr) != "last\n" {
		c.Errorf("%d bytes of output, and %q", len(r.Stdout), r.Stderr)
	}
}

// TestExecSyncRefused: each with a code that the kubelet understands.
func TestExecSyncRefused(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	c, ended, paused := p.steady(), p.container("exit 0"), p.steady()
	created := p.create(p.containerConfig(idle))
	ended.awaitExit()
	n.must("pause", n.engine.ContainerPause(n.Context(), paused.id))
	defer n.engine.ContainerUnpause(n.Context(), paused.id)
	sh := []string{"sh"}
	for what, test := range map[string]struct {
		request *cri.ExecSyncRequest
		code    codes.Code
		word    string
	}{
		"no command":      {&cri.ExecSyncRequest{ContainerId: c.id}, codes.InvalidArgument, "cmd"},
		"negative time":   {&cri.ExecSyncRequest{ContainerId: c.id, Cmd: sh, Timeout: -1}, codes.InvalidArgument, "timeout"},
		"no container":    {&cri.ExecSyncRequest{Cmd: sh}, codes.InvalidArgument, "container id"},
		"unknown":         {&cri.ExecSyncRequest{ContainerId: strings.Repeat("0", 64), Cmd: sh}, codes.NotFound, "000"},
		"ended":           {&cri.ExecSyncRequest{ContainerId: ended.id, Cmd: sh}, codes.FailedPrecondition, "not running"},
		"not yet started": {&cri.ExecSyncRequest{ContainerId: created.id, Cmd: sh}, codes.FailedPrecondition, "not running"},
		"paused":          {&cri.ExecSyncRequest{ContainerId: paused.id, Cmd: sh}, codes.FailedPrecondition, "paused"},
		"a sandbox":       {&cri.ExecSyncRequest{ContainerId: p.id, Cmd: sh}, codes.NotFound, p.id},
	} {
		_, err := n.runtime.ExecSync(n.Context(), test.request)
		if message := n.wantCode(what, err, test.code); !strings.Contains(message, test.word) {
			n.Errorf("%s: %q does not say %q", what, message, test.word)
		}
	}
}

// lingering are scripts that would run on, and leave processes in ways of their own.
var lingering = map[string]string{
	"one process":       "exec sleep 1000",
	"child":             "sleep 1000; true",
	"background":        "sleep 1000 & sleep 1001 & wait",
	"orphan":            "(sleep 1000 &); sleep 1001; true",
	"session":           "setsid sleep 1000 & sleep 1001; true",
	"orphaned session":  "(setsid sleep 1000 &); sleep 1001; true",
	"deaf to signals":   "trap '' TERM INT HUP; sleep 1000; sleep 1001",
	"many":              "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 1000; true) & done; wait",
	"writes on":         "while echo x; do sleep 0.1; done",
	"its shell is gone": "sleep 1000 & exec sleep 1001",
}

// TestExecSyncTimeout: a command that takes too long leaves no process.
func TestExecSyncTimeout(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	for name, script := range lingering {
		n.sub(name, func(n *node) {
			c := p.in(n).steady()
			before := c.processes()
			_, err := n.runtime.ExecSync(n.Context(), &cri.ExecSyncRequest{ContainerId: c.id, Cmd: []string{"sh", "-c", script}, Timeout: 1})
			if message := n.wantCode("ExecSync", err, codes.DeadlineExceeded); !strings.Contains(message, "within 1 s") {
				n.Errorf("message %q", message)
			}
			// By the time of the answer nothing is left.
			if now := c.processes(); len(now) != len(before) {
				n.Errorf("processes %v, before there were %v", now, before)
			}
			if got := c.execSync("echo on"); string(got.Stdout) != "on\n" {
				n.Errorf("then: %v", got)
			}
		})
	}
}

// TestExecSyncCallerLeaves is a kubelet that ends in the middle of a probe.
func TestExecSyncCallerLeaves(t *testing.T) {
	n := newNode(t)
	c := n.pod().steady()
	before := c.processes()
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		ctx, cancel := context.WithCancel(n.Context())
		stop := time.AfterFunc(after, cancel)
		_, err := n.runtime.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: c.id, Cmd: []string{"sh", "-c", "sleep 1000 & sleep 1001"}})
		stop.Stop()
		cancel()
		if status.Code(err) != codes.Canceled {
			n.Errorf("after %s: %v", after, err)
		}
	}
	c.awaitProcesses(before)
}

// TestExecSyncSparesOthers: what the container and other commands run goes on.
func TestExecSyncSparesOthers(t *testing.T) {
	n := newNode(t)
	c := n.pod().container("sleep 2000 & (setsid sleep 2001 &); exec sleep 2002")
	c.awaitExec()
	eventually(n, "three processes run", func() bool { return len(c.processes()) == 3 })
	other := make(chan *cri.ExecSyncResponse)
	go func() { other <- c.execSync("sleep 5; echo survived") }()
	eventually(n, "the other command runs", func() bool { return len(c.processes()) >= 5 })
	_, err := n.runtime.ExecSync(n.Context(), &cri.ExecSyncRequest{ContainerId: c.id, Cmd: []string{"sh", "-c", "sleep 1000 & (setsid sleep 1001 &); sleep 1002"}, Timeout: 1})
	n.wantCode("ExecSync", err, codes.DeadlineExceeded)
	if r := <-other; string(r.GetStdout()) != "survived\n" {
		n.Errorf("the other command: %v", r)
	}
	eventually(n, "the container's own three processes are left", func() bool { return len(c.processes()) == 3 })
}

// TestExecSyncManyAtOnce tells a hundred commands apart.
func TestExecSyncManyAtOnce(t *testing.T) {
	n := newNode(t)
	c := n.pod().steady()
	before, files := c.processes(), n.openFiles()
	n.together("exec", 100, func(i int) error {
		r, err := n.runtime.ExecSync(n.Context(), &cri.ExecSyncRequest{ContainerId: c.id, Cmd: []string{"sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i)}})
		if err == nil && (string(r.Stdout) != fmt.Sprintln(i) || r.ExitCode != int32(i)) {
			err = fmt.Errorf("command %d: %v", i, r)
		}
		return err
	})
	c.awaitProcesses(before)
	n.awaitOpenFiles(files)
}

// openFiles is how many the daemon has.
func (d *daemon) openFiles() int {
	entries, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(d.process.Process.Pid), "fd"))
	return len(entries)
}

// awaitOpenFiles waits until there are not many more than before: the daemon
// keeps some connections to the engine for the next calls.
func (n *node) awaitOpenFiles(before int) {
	n.Helper()
	const kept = 10
	eventually(n, fmt.Sprintf("the daemon has about %d files open again, not %d", before, n.openFiles()), func() bool { return n.openFiles() <= before+kept })
}

// TestExecSyncWhileEngineHangs: the time of the call is kept, and no command is
// left when the engine goes on.
func TestExecSyncWhileEngineHangs(t *testing.T) {
	n := newNode(t)
	c := n.pod().steady()
	before := c.processes()
	goOn := func() { n.engine.signal(t, syscall.SIGCONT) }
	t.Cleanup(goOn)
	n.engine.signal(n, syscall.SIGSTOP)
	n.together("exec", 10, func(int) error {
		_, err := n.runtime.ExecSync(n.Context(), &cri.ExecSyncRequest{ContainerId: c.id, Cmd: []string{"sleep", "1000"}, Timeout: 1})
		if status.Code(err) != codes.DeadlineExceeded {
			return fmt.Errorf("while the engine hangs: %w", err)
		}
		return nil
	})
	goOn()
	c.awaitProcesses(before)
	if got := c.execSync("echo on"); string(got.Stdout) != "on\n" {
		n.Errorf("then: %v", got)
	}
}

// TestExecSyncHasRights: a command may what its container's process may.
func TestExecSyncHasRights(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	for name, edit := range map[string]func(*cri.LinuxContainerSecurityContext){
		"default": func(*cri.LinuxContainerSecurityContext) {},
		"user":    func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = &cri.Int64Value{Value: 1234} },
		"groups":  func(s *cri.LinuxContainerSecurityContext) { s.SupplementalGroups = []int64{70, 71} },
		"capabilities": func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"NET_RAW"}}
		},
		"no new privileges": func(s *cri.LinuxContainerSecurityContext) { s.NoNewPrivs = true },
	} {
		n.sub(name, func(n *node) {
			p.in(n).testCommandsRights(edit)
		})
	}
	n.sub("privileged", func(n *node) {
		n.needPrivileged()
		p := n.pod(func(c *cri.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
		p.testCommandsRights(func(s *cri.LinuxContainerSecurityContext) { s.Privileged = true })
	})
}

func (p *pod) testCommandsRights(edit func(*cri.LinuxContainerSecurityContext)) {
	p.Helper()
	c := p.steady(func(c *cri.ContainerConfig) { edit(c.Linux.SecurityContext) })
	own, command := c.proc("status"), string(c.execSync("cat /proc/self/status").Stdout)
	for _, what := range []string{"Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"} {
		if field(own, what) != field(command, what) {
			p.Errorf("%s of the container %q, of a command %q", what, field(own, what), field(command, what))
		}
	}
}
