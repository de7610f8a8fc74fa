// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestLogFormat compares logs with what containers wrote, byte for byte.
func TestLogFormat(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	long := strings.Repeat("0123456789abcdef", 2560) // 40 KiB
	for name, test := range map[string]struct {
		script string
		edit   func(*cri.ContainerConfig)
		want   []line // without times
	}{
		"two streams": {"echo to stdout; echo to stderr >&2", plain, []line{{stream: "stdout", tag: "F", text: "to stdout"}, {stream: "stderr", tag: "F", text: "to stderr"}}},
		"empty lines": {"echo; echo", plain, []line{{stream: "stdout", tag: "F"}, {stream: "stdout", tag: "F"}}},
		"no newline":  {"printf 'a prompt'", plain, []line{{stream: "stdout", tag: "P", text: "a prompt"}}},
		"nothing":     {"true", plain, nil},
		"escapes":     {`printf '\t"\\ <&> \001\033[1m \342\202\254\n'`, plain, []line{{stream: "stdout", tag: "F", text: "\t\"\\ <&> \x01\x1b[1m €"}}},
		"long line": {"echo " + long, plain, []line{
			{stream: "stdout", tag: "P", text: long[:16<<10]}, {stream: "stdout", tag: "P", text: long[16<<10 : 32<<10]}, {stream: "stdout", tag: "F", text: long[32<<10:]},
		}},
		"terminal": {"echo a line; echo an error >&2", func(c *cri.ContainerConfig) { c.Tty = true }, []line{
			{stream: "stdout", tag: "F", text: "a line\r"}, {stream: "stdout", tag: "F", text: "an error\r"},
		}},
	} {
		n.sub(name, func(n *node) {
			c := p.in(n).container(test.script, test.edit)
			c.awaitExit()
			got := c.allLines()
			for i := range got {
				got[i].time = ""
			}
			if !sameLines(got, test.want) {
				n.Errorf("the log is %.300q, want %.300q", got, test.want)
			}
		})
	}
}

func plain(*cri.ContainerConfig) {}

// sameLines compares each stream by itself, between which there is no order.
func sameLines(a, b []line) bool {
	of := func(all []line) map[string][]string {
		streams := map[string][]string{}
		for _, l := range all {
			streams[l.stream] = append(streams[l.stream], l.tag+l.text)
		}
		return streams
	}
	ofA, ofB := of(a), of(b)
	return len(a) == len(b) && strings.Join(ofA["stdout"], "\n") == strings.Join(ofB["stdout"], "\n") &&
		strings.Join(ofA["stderr"], "\n") == strings.Join(ofB["stderr"], "\n")
}

// TestLogIsCompleteAtExit looks at logs as soon as the ends are shown.
func TestLogIsCompleteAtExit(t *testing.T) {
	const containers, last = 10, 20_000
	n := newNode(t)
	p := n.pod()
	created := make([]*workload, containers)
	for i := range created {
		created[i] = p.container(counting(last))
	}
	for _, c := range created {
		c.awaitExit()
		c.wantCounted(last)
	}
}

// TestLogsOverEngineRotation: the engine's files are small, so that it rotates
// them in mid-flight, and docker logs has what they keep.
func TestLogsOverEngineRotation(t *testing.T) {
	const last, spool = 400_000, 4_000_000
	n := newNode(t, "--container-logs-spool-size=4m")
	c := n.pod().container(counting(last))
	c.awaitExit()
	c.wantCounted(last)
	spools, err := filepath.Glob(n.engine.inspect(n, c.id).LogPath + "*")
	n.must("list the engine's files", err)
	if len(spools) != 3 {
		n.Errorf("the engine's files are %q", spools)
	}
	for _, file := range spools {
		if info, err := os.Stat(file); err != nil || info.Size() > spool+1000 {
			n.Errorf("%s has %d bytes, %v", file, info.Size(), err)
		}
	}
	if logs := n.dockerLogs(c.id); !strings.HasSuffix(logs, strconv.Itoa(last)+"\n") {
		n.Errorf("docker logs ends in %q", logs[max(0, len(logs)-20):])
	}
}

// dockerLogs is what docker logs says of stdout and stderr.
func (n *node) dockerLogs(id string) string {
	n.Helper()
	logs, err := n.engine.ContainerLogs(n.Context(), id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	n.must("docker logs", err)
	defer logs.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &out, logs)
	n.must("docker logs", err)
	return out.String()
}

// input gives a line to a container that reads it.
func (c *workload) input(line string) {
	c.Helper()
	stream, err := c.engine.ContainerAttach(c.Context(), c.id, container.AttachOptions{Stream: true, Stdin: true})
	c.must("attach", err)
	defer stream.Close()
	_, err = stream.Conn.Write([]byte(line + "\n"))
	c.must("write", err)
}

// echoing says what it is given.
const echoing = "while read line; do echo $line; done"

func withInput(c *cri.ContainerConfig) { c.Stdin = true }

// TestRotatedByKubelet renames the log and has it reopened, again and again,
// while the container writes as fast as it can.
func TestRotatedByKubelet(t *testing.T) {
	const last = 400_000
	n := newNode(t)
	c := n.pod().container(counting(last))
	rotations := 0
	for c.running() {
		if err := c.rotate(n.runtime); err != nil {
			if !c.running() {
				break // it ended just now
			}
			n.Fatalf("ReopenContainerLog: %v", err)
		}
		rotations++
	}
	c.awaitExit()
	n.Logf("%d rotations", rotations)
	if rotations < 3 {
		n.Error("too few rotations to tell anything")
	}
	c.wantCounted(last)
	_, err := n.runtime.ReopenContainerLog(n.Context(), &cri.ReopenContainerLogRequest{ContainerId: c.id})
	n.wantCode("ReopenContainerLog of a container that has ended", err, codes.FailedPrecondition)
}

// TestRemovedLogComesBack: somebody cleans up below /var/log.
func TestRemovedLogComesBack(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	c := p.container(echoing, withInput)
	c.input("before")
	c.awaitLog("before")
	n.must("remove the log", os.Remove(c.logPath()))
	c.input("without a file")
	c.awaitFile("without a file")
	n.must("remove the directory", os.RemoveAll(filepath.Dir(c.logPath())))
	c.input("without a directory")
	c.awaitFile("without a directory")
}

// awaitFile is awaitLog where the log may not be there.
func (c *workload) awaitFile(text string) {
	c.Helper()
	eventually(c, "the log has "+text, func() bool {
		got, err := os.ReadFile(c.logPath())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.Fatal(err)
		}
		return bytes.Contains(got, []byte(text))
	})
}

// TestLogPathsRefused: what is in the way is told before the container runs, and
// left alone. TestContainersRefused has a path outside of the pod's directory.
func TestLogPathsRefused(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	inDir := func(put func(path string) error) func(dir, path string) error {
		return func(dir, path string) error { return errors.Join(os.MkdirAll(dir, 0o755), put(path)) }
	}
	for name, obstacle := range map[string]func(dir, path string) error{
		"a directory":     inDir(func(path string) error { return os.Mkdir(path, 0o755) }),
		"a link":          inDir(func(path string) error { return os.Symlink("/etc/passwd", path) }),
		"a dangling link": inDir(func(path string) error { return os.Symlink("/nowhere", path) }),
		"a pipe":          inDir(func(path string) error { return syscall.Mkfifo(path, 0o600) }),
		"a device":        inDir(func(path string) error { return syscall.Mknod(path, syscall.S_IFCHR|0o600, 1<<8|3) }),
		"below a file": func(dir, _ string) error {
			return errors.Join(os.MkdirAll(filepath.Dir(dir), 0o755), os.WriteFile(dir, nil, 0o600))
		},
		"read-only": func(dir, _ string) error {
			return errors.Join(os.MkdirAll(dir, 0o755), syscall.Mount("none", dir, "tmpfs", syscall.MS_RDONLY, ""))
		},
	} {
		n.sub(name, func(n *node) {
			p := p.in(n)
			config := p.containerConfig(idle)
			config.LogPath = strings.ReplaceAll(name, " ", "-") + "/0.log"
			path := filepath.Join(p.config.GetLogDirectory(), config.GetLogPath())
			n.must("put something in the way", obstacle(filepath.Dir(path), path))
			n.Cleanup(func() {
				_ = syscall.Unmount(filepath.Dir(path), 0) // the one that is mounted
				n.must("clear up", os.RemoveAll(filepath.Dir(path)))
			})
			c := p.create(config)
			_, err := n.runtime.StartContainer(n.Context(), &cri.StartContainerRequest{ContainerId: c.id})
			n.wantRefusal(err, codes.FailedPrecondition, filepath.Dir(path))
			if started := n.engine.inspect(n, c.id).State.StartedAt; !strings.HasPrefix(started, "0001") {
				n.Errorf("it was started at %s", started)
			}
			c.remove()
		})
	}
	if text, err := os.ReadFile("/etc/passwd"); err != nil || len(text) == 0 {
		n.Errorf("a link was followed: /etc/passwd is %q, %v", text, err)
	}
}

// TestNoLogPath: then there is no log, and nothing fails.
func TestNoLogPath(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	c := p.container("echo a line; "+idle, func(c *cri.ContainerConfig) { c.LogPath = "" })
	_, err := n.runtime.ReopenContainerLog(n.Context(), &cri.ReopenContainerLogRequest{ContainerId: c.id})
	n.must("ReopenContainerLog", err)
	eventually(n, "docker logs has the line", func() bool { return strings.Contains(n.dockerLogs(c.id), "a line") })
	if files := n.filesBelow("log", p.config.GetLogDirectory()); len(files) > 0 {
		n.Errorf("there are %q", files)
	}
}

// TestLinkedLogs: logs of the old kind stay so under a daemon that makes new ones
// of CRI's format, are rotated by copying, and are told apart.
func TestLinkedLogs(t *testing.T) {
	n := newNode(t, "--container-logs=json-file", "--container-logs-spool-size=")
	p := n.pod()
	c := p.container("echo before; "+echoing, withInput)
	n.daemon.flags = append(n.daemon.flags, "--container-logs=cri")
	n.restart(syscall.SIGTERM)
	spool := n.engine.inspect(n, c.id).LogPath
	if target, err := os.Readlink(c.logPath()); err != nil || target != spool {
		n.Fatalf("the log is a link to %q, %v; want %s", target, err, spool)
	}
	eventually(n, "a line is logged", func() bool { return strings.Contains(n.dockerLogs(c.id), "before") })
	n.must("ReopenContainerLog", c.rotate(n.runtime))
	rotated, _ := filepath.Glob(c.logPath() + ".*")
	if len(rotated) != 1 {
		n.Fatalf("rotated files are %q", rotated)
	}
	if text, err := os.ReadFile(rotated[0]); err != nil || !strings.Contains(string(text), `"log":"before\n"`) {
		n.Errorf("the rotated log is %q, %v", text, err)
	}
	if target, err := os.Readlink(c.logPath()); err != nil || target != spool {
		n.Errorf("afterwards the log is a link to %q, %v", target, err)
	}
	c.input("after")
	eventually(n, "what comes after is in the emptied file", func() bool {
		text, err := os.ReadFile(c.logPath())
		n.must("read the log", err)
		return bytes.HasPrefix(text, []byte(`{"log":"after\n"`))
	})
	if out := n.crictl("inspect", c.id); !strings.Contains(out, "rotated by copying and truncating") {
		n.Errorf("inspect does not say how the log is rotated: %s", out)
	}
	if fresh := p.container("echo new"); fresh.awaitExit() == nil || fresh.log() != "new\n" {
		n.Errorf("a new container has the log %q", fresh.log())
	}
}

// TestSecondDaemonRefused: two would write every line twice.
func TestSecondDaemonRefused(t *testing.T) {
	n := newNode(t)
	args := append([]string{}, n.daemon.flags...)
	args = append(args, "--container-runtime-endpoint=unix://"+filepath.Join(n.dir, "second.sock"))
	out, err := exec.CommandContext(n.Context(), n.daemon.program, args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another dockershimd uses") {
		n.Errorf("%v: %s", err, out)
	}
	if !n.condition(cri.RuntimeReady).Status {
		n.Error("the first one is not ready any more")
	}
}
