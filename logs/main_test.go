// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2/ktesting"
)

// childVariable tells the test binary, when a test runs it again, to be a daemon
// that follows the container of the rig in this directory until it is killed.
const childVariable = "LOGS_TEST_FOLLOW"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		os.Exit(followUntilKilled(dir))
	}
	os.Exit(m.Run())
}

func followUntilKilled(dir string) int {
	logs, err := New(stateIn(dir), silent())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	logs.Follow(containerIn(dir, "a"))
	fmt.Println("following")
	go logs.Run(context.Background())
	io.Copy(io.Discard, os.Stdin) // ends with the test, if that has not killed it
	return 1
}

func stateIn(dir string) Config { return Config{Dir: filepath.Join(dir, "state")} }

func containerIn(dir, id string) Container {
	return Container{
		ID:    id,
		Spool: filepath.Join(dir, "containers", id, id+engineLogSuffix),
		Path:  filepath.Join(dir, "pods", id, "app", "0.log"),
	}
}

// rig is a node with this package's part of the daemon, which can be restarted.
type rig struct {
	*Logs
	t   *testing.T
	dir string
	// blind: the kernel grants no watches.
	blind bool
	end   func() // of the daemon
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir()}
	r.restart()
	t.Cleanup(func() { r.end() })
	return r
}

// restart ends the daemon, if it runs, and starts another.
func (r *rig) restart() {
	r.t.Helper()
	if r.end != nil {
		r.end()
	}
	log, _ := ktesting.NewTestContext(r.t)
	logs, err := New(stateIn(r.dir), log)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.blind {
		logs.watch.close()
		logs.watch.files = nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- logs.Run(ctx) }()
	r.Logs = logs
	r.end = func() {
		cancel()
		if err := errors.Join(<-done, logs.Close()); err != nil {
			r.t.Error(err)
		}
		r.end = func() {}
	}
}

// container prepares and follows a container, and is its output.
func (r *rig) container(id string, size int64, files int) *dockerLog {
	r.t.Helper()
	c := containerIn(r.dir, id)
	if err := r.Prepare(c); err != nil {
		r.t.Fatal(err)
	}
	r.Follow(c)
	return newDockerLog(r.t, c, size, files)
}

// finish ends a container, and returns when its log is complete.
func (r *rig) finish(d *dockerLog) {
	r.t.Helper()
	d.close()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	if err := r.Finish(ctx, d.Container); err != nil {
		r.t.Fatal(err)
	}
}

// rotate does what the kubelet does, and returns the name of the old log.
func (r *rig) rotate(c Container) string {
	r.t.Helper()
	old := c.Path + "." + time.Now().Format("20060102-150405.000000000")
	if err := os.Rename(c.Path, old); err != nil {
		r.t.Fatal(err)
	}
	if err := r.Reopen(r.t.Context(), c.ID); err != nil {
		r.t.Fatal(err)
	}
	return old
}

// wantLog wants the log to be exactly what the container wrote.
func (r *rig) wantLog(d *dockerLog) {
	r.t.Helper()
	wantText(r.t, allLogs(r.t, d.Path), d.want.String())
}

// allLogs is what is in a container's log and those it was rotated to.
func allLogs(t *testing.T, path string) string {
	t.Helper()
	names, err := filepath.Glob(path + ".*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	var all strings.Builder
	for _, name := range append(names, path) {
		text, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			t.Errorf("%s ends within a line: %q", name, text[max(0, len(text)-200):])
		}
		all.Write(text)
	}
	return all.String()
}

// wantText shows the first difference only: texts are long here.
func wantText(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	same := 0
	for same < min(len(got), len(want)) && got[same] == want[same] {
		same++
	}
	around := func(s string) string { return s[max(0, min(same-100, len(s))):min(same+200, len(s))] }
	t.Errorf("texts of %d and %d bytes differ at byte %d:\ngot  …%q…\nwant …%q…", len(got), len(want), same, around(got), around(want))
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(15 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
	if err != nil {
		t.Fatal(err)
	}
}

// must is for preparations that cannot fail unless the machine does.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// cri is a line of a log.
func cri(at time.Time, stream string, tag byte, text string) string {
	return fmt.Sprintf("%s %s %c %s\n", at.Format(time.RFC3339Nano), stream, tag, bytes.TrimSuffix([]byte(text), []byte("\n")))
}
