// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// logReader is logreader, which reads a log as the kubelet does for kubectl logs.
func (c *workload) logReader(args ...string) *exec.Cmd {
	c.Helper()
	args = append([]string{"--endpoint", "unix://" + c.socket, "--container", c.id}, args...)
	return exec.Command(program(c.T, "LOGREADER", "logreader"), args...)
}

// readLog lets the reader come to its end and returns what it showed.
func (c *workload) readLog(args ...string) (stdout, stderr string) {
	c.Helper()
	r := c.runClient(c.logReader(args...), 0)
	if r.code != 0 {
		c.Fatalf("the reader with %q: exit code %d, %s", args, r.code, r.stderr)
	}
	return string(r.stdout), string(r.stderr)
}

// wantLog checks what the reader shows.
func (c *workload) wantLog(stdout, stderr string, args ...string) {
	c.Helper()
	if gotOut, gotErr := c.readLog(args...); gotOut != stdout || gotErr != stderr {
		c.Errorf("the reader with %q shows %s and %s, want %s and %s", args, short(gotOut), short(gotErr), short(stdout), short(stderr))
	}
}

// short keeps messages readable.
func short(text string) string {
	const most = 200
	if len(text) <= most {
		return strconv.Quote(text)
	}
	return fmt.Sprintf("%q ... %q (%d bytes)", text[:most/2], text[len(text)-most/2:], len(text))
}

// followLog starts a reader that goes on until the container ends, and waits
// until it has set its watch on the log's folder: it sees no rotation before.
func (c *workload) followLog(args ...string) *background {
	c.Helper()
	b := &background{node: c.node, Cmd: c.logReader(append(args, "--follow")...), out: &growing{}, errs: &growing{}, finished: make(chan error, 1)}
	b.Stdout, b.Stderr = b.out, b.errs
	c.must("start the reader", b.Start())
	go func() { b.finished <- b.Wait() }()
	c.Cleanup(func() { _ = b.Process.Kill() })
	eventually(c, "the reader watches", func() bool {
		infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", b.Process.Pid))
		c.must("look at the reader's files", err)
		for _, info := range infos {
			if text, _ := os.ReadFile(info); strings.Contains(string(text), "\ninotify wd:") {
				return true
			}
		}
		return false
	})
	return b
}

// wantFollowed waits for the reader's end and checks what it showed.
func (b *background) wantFollowed(stdout, stderr string) {
	b.node.Helper()
	if code := b.awaitEnd(); code != 0 || b.out.String() != stdout || b.errs.String() != stderr {
		b.Errorf("the follower ends with code %d, shows %s and %s, want %s and %s",
			code, short(b.out.String()), short(b.errs.String()), short(stdout), short(stderr))
	}
}

// awaitFile is a script that waits for what release makes.
const awaitFile = "until [ -e /tmp/go ]; do sleep 0.02; done; "

// release lets a script go on. It is done from outside, since a command in the
// container would be killed when that ends.
func (c *workload) release() {
	c.Helper()
	c.must("release the script", os.WriteFile(c.procPath("root/tmp/go"), nil, 0o600))
}

// count is a script that writes the numbers up to last, each by a command.
func count(last int, command string) string {
	return fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); %s; done; ", last, command)
}

// counted is what that has written.
func counted(prefix string, last int) string {
	var text strings.Builder
	for i := range last {
		fmt.Fprintf(&text, "%s%d\n", prefix, i+1)
	}
	return text.String()
}

// TestReadLog reads logs with the options of kubectl logs.
func TestReadLog(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	n.sub("options", func(n *node) { p.in(n).testReadOptions() })
	n.sub("previous", func(n *node) { p.in(n).testReadPrevious() })
	n.sub("long lines", func(n *node) { p.in(n).testReadLongLines() })
	n.sub("empty lines", func(n *node) { p.in(n).testReadEmptyLines() })
	n.sub("terminal", func(n *node) { p.in(n).testReadTerminal() })
}

// testReadOptions has a container write twice, to both streams, and not end.
func (p *pod) testReadOptions() {
	const lines = 10
	again := count(lines, "echo out $i; echo err $i >&2")
	half, halfErr := counted("out ", lines), counted("err ", lines)
	c := p.container(again + awaitFile + again + idle)
	c.awaitRead(half, halfErr)
	between := time.Now()
	c.release()
	stdout, stderr := half+half, halfErr+halfErr
	c.awaitRead(stdout, stderr)

	c.wantLog(half, halfErr, "--since-time", between.Format(time.RFC3339Nano))
	c.wantLog(stdout, stderr, "--since-seconds", "3600")
	c.wantLog(stdout, "", "--stream", "Stdout")
	c.wantLog("", stderr, "--stream", "Stderr")
	for _, tail := range []int{0, 1, 5, 4 * lines, 1000} {
		gotOut, gotErr := c.readLog("--tail", strconv.Itoa(tail))
		got := strings.Count(gotOut, "\n") + strings.Count(gotErr, "\n")
		if got != min(tail, 4*lines) || !strings.HasSuffix(stdout, gotOut) || !strings.HasSuffix(stderr, gotErr) {
			p.Errorf("the last %d lines: %q, %q", tail, gotOut, gotErr)
		}
	}
	const limit = 100
	gotOut, gotErr := c.readLog("--limit-bytes", strconv.Itoa(limit))
	if len(gotOut)+len(gotErr) != limit || !strings.HasPrefix(stdout, gotOut) || !strings.HasPrefix(stderr, gotErr) {
		p.Errorf("%d bytes: %q, %q", limit, gotOut, gotErr)
	}
	// The engine notes the start when the container runs already.
	start, end := time.Unix(0, c.status().GetCreatedAt()), time.Now()
	gotOut, gotErr = c.readLog("--timestamps")
	if p.withoutStamps(gotOut, start, end) != stdout || p.withoutStamps(gotErr, start, end) != stderr {
		p.Errorf("with timestamps: %q, %q", gotOut, gotErr)
	}
}

// awaitRead waits until the reader shows just this.
func (c *workload) awaitRead(stdout, stderr string) {
	c.Helper()
	eventually(c, fmt.Sprintf("the reader shows %s and %s", short(stdout), short(stderr)), func() bool {
		gotOut, gotErr := c.readLog()
		return gotOut == stdout && gotErr == stderr
	})
}

// withoutStamps checks and takes off the time of each line.
func (n *node) withoutStamps(text string, start, end time.Time) string {
	n.Helper()
	var lines strings.Builder
	for line := range strings.Lines(text) {
		stamp, rest, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil || at.Before(start) || at.After(end) {
			n.Errorf("line %q: %v, want a time from %s to %s", line, err, start, end)
		}
		start = at
		lines.WriteString(rest)
	}
	return lines.String()
}

// testReadPrevious has a container that ended and another in its place.
func (p *pod) testReadPrevious() {
	attempt := func(number uint32) func(*cri.ContainerConfig) {
		return func(c *cri.ContainerConfig) {
			c.Metadata = &cri.ContainerMetadata{Name: "again", Attempt: number}
			c.LogPath = fmt.Sprintf("again/%d.log", number)
		}
	}
	const lines = 5000
	first := p.container(count(lines, "echo $i")+"echo -n more; echo -n error >&2; exit 3", attempt(0))
	first.awaitExit()
	second := p.container("echo second; "+idle, attempt(1))
	second.awaitRead("second\n", "")

	want := counted("", lines) + "more"
	first.wantLog(want, "error")
	first.wantLog(want, "error", "--path", first.status().GetLogPath())
	first.wantLog(want, "error", "--follow")
}

// testReadLongLines has lines that the engine takes apart.
func (p *pod) testReadLongLines() {
	const long, longer = 40 << 10, 100 << 10
	c := p.container(fmt.Sprintf("head -c %d /dev/zero | tr '\\0' a; echo; echo short; head -c %d /dev/zero | tr '\\0' b; echo; echo -n end", long, longer))
	c.awaitExit()
	c.wantLog(strings.Repeat("a", long)+"\nshort\n"+strings.Repeat("b", longer)+"\nend", "")
	stamped, _ := c.readLog("--timestamps")
	lines := strings.Split(stamped, "\n")
	const stamp = len("2006-01-02T15:04:05.000000000Z ")
	for i, want := range []int{long, len("short"), longer, len("end")} {
		if len(lines) != 4 || len(lines[i]) != stamp+want {
			p.Fatalf("with timestamps: %d lines, %s", len(lines), short(stamped))
		}
	}
}

func (p *pod) testReadEmptyLines() {
	c := p.container("echo; echo a; echo; echo ' '; echo >&2; echo; echo b >&2; echo >&2")
	c.awaitExit()
	c.wantLog("\na\n\n \n\n", "\nb\n\n")
}

// testReadTerminal: a terminal makes two characters of a newline, and one
// stream of two.
func (p *pod) testReadTerminal() {
	c := p.container("echo one; echo; echo two >&2; echo; echo -n three", func(c *cri.ContainerConfig) { c.Tty = true })
	c.awaitExit()
	c.wantLog("one\r\n\r\ntwo\r\n\r\nthree", "")
	c.wantLog("two\r\n\r\nthree", "", "--tail", "3")
}

// TestFollowLog has readers that end with the container, and nothing missing.
func TestFollowLog(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	for name, lines := range map[string]int{"little": 1, "much": 20000} {
		n.sub(name, func(n *node) {
			c := p.in(n).container("echo ready; " + awaitFile + count(lines, "echo $i") + "echo error >&2; echo -n end")
			c.awaitRead("ready\n", "")
			whole, rest := c.followLog(), c.followLog("--tail", "0")
			c.release()
			want := counted("", lines) + "end"
			whole.wantFollowed("ready\n"+want, "error\n")
			rest.wantFollowed(want, "error\n")
			c.wantLog("ready\n"+want, "error\n")
		})
	}
	n.sub("killed", func(n *node) {
		c := p.in(n).container("echo one; echo two >&2; " + awaitFile + "echo three; echo -n four; kill -9 $$")
		b := c.followLog()
		b.awaitOutput("one\n")
		c.release()
		b.wantFollowed("one\nthree\nfour", "two\n")
	})
}

// TestFollowLogRotation plays the kubelet that finds a log too large, time and
// again: the reader stays with it, and the files have each line once.
func TestFollowLogRotation(t *testing.T) {
	const rotations = 6
	n := newNode(t)
	p := n.pod()
	c := p.container("i=0; until [ -e /tmp/go ]; do for j in 1 2 3 4 5 6 7 8 9 10; do i=$((i+1)); echo $i; done; sleep 0.01; done; echo -n end")
	b := c.followLog()
	path := c.status().GetLogPath()
	b.awaitOutput("10\n")
	for range rotations {
		c.must("rotate the log", c.rotate(c.runtime))
		// The kubelet looks every 10 seconds. Of rotations that come before the
		// reader has seen the last, it shows one file twice, another never.
		b.awaitOutput("\n" + c.firstLine(path))
	}
	c.release()
	c.awaitExit()

	files, err := filepath.Glob(path + ".*") // by the time of their rotation
	n.must("list the rotated logs", err)
	if len(files) != rotations {
		t.Errorf("rotated logs: %q, want %d", files, rotations)
	}
	var written strings.Builder
	for _, file := range append(files, path) {
		text, _ := c.readLog("--path", file)
		if text == "" {
			t.Errorf("nothing in %s", file)
		}
		written.WriteString(text)
	}
	want := counted("", strings.Count(written.String(), "\n")) + "end"
	if written.String() != want {
		t.Errorf("the files have %s", firstDifference(written.String(), want))
	}
	if code := b.awaitEnd(); code != 0 || b.out.String() != want {
		t.Errorf("the follower ends with code %d, %s", code, firstDifference(b.out.String(), want))
	}
}

// firstLine waits for a log's first line.
func (c *workload) firstLine(path string) (line string) {
	c.Helper()
	eventually(c, "the new log has a line", func() bool {
		text, _ := c.readLog("--path", path)
		first, _, found := strings.Cut(text, "\n")
		line = first + "\n"
		return found
	})
	return line
}

// firstDifference tells where a text is not as wanted.
func firstDifference(got, want string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("%s after %d bytes, want %s", short(got[max(0, i-20):]), i, short(want[max(0, i-20):]))
		}
	}
	return fmt.Sprintf("%d bytes, want %d", len(got), len(want))
}
