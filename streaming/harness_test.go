// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

// TestMain silences the libraries, which log to nobody's context.
func TestMain(m *testing.M) {
	klog.SetLogger(textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(io.Discard))))
	os.Exit(m.Run())
}

// patience is for what should happen at once.
const patience = 10 * time.Second

// fake is a Backend made of functions; those of nil fail.
type fake struct {
	exec   func(ctx context.Context, r *cri.ExecRequest, stdin io.Reader, stdout, stderr io.Writer, resize <-chan remotecommand.TerminalSize) (int, error)
	attach func(ctx context.Context, r *cri.AttachRequest, stdin io.Reader, stdout, stderr io.Writer, resize <-chan remotecommand.TerminalSize) error
	port   func(ctx context.Context, sandboxID string, port uint16, stream io.ReadWriteCloser) error
}

var errNotExpected = errors.New("the test does not expect this call")

func (f *fake) StreamExec(ctx context.Context, r *cri.ExecRequest, stdin io.ReadCloser, stdout, stderr io.Writer, resize <-chan remotecommand.TerminalSize) (int, error) {
	if f.exec == nil {
		return 0, errNotExpected
	}
	return f.exec(ctx, r, stdin, stdout, stderr, resize)
}

func (f *fake) StreamAttach(ctx context.Context, r *cri.AttachRequest, stdin io.ReadCloser, stdout, stderr io.Writer, resize <-chan remotecommand.TerminalSize) error {
	if f.attach == nil {
		return errNotExpected
	}
	return f.attach(ctx, r, stdin, stdout, stderr, resize)
}

func (f *fake) StreamPort(ctx context.Context, sandboxID string, port uint16, stream io.ReadWriteCloser) error {
	if f.port == nil {
		return errNotExpected
	}
	return f.port(ctx, sandboxID, port, stream)
}

// running is a server that serves until the test ends, or stop is called.
type running struct {
	*Server
	t    testing.TB
	log  *lockedLog
	stop func() error
}

// start serves. At the end of the test nothing of it may be left.
func start(t testing.TB, c Config, backend Backend) *running {
	t.Helper()
	if _, fuzz := t.(*testing.F); !fuzz { // which starts goroutines of its own
		noLeaks(t)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.watch = 20 * time.Millisecond
	s.linger = 200 * time.Millisecond
	r := &running{Server: s, t: t, log: &lockedLog{}}
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Verbosity(4), textlogger.Output(r.log)))
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), logger))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, backend) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(3 * patience):
			return fmt.Errorf("Run does not return:\n%s", stacks())
		}
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// noLeaks checks at the end of a test that goroutines and open files are as many
// as now.
func noLeaks(t testing.TB) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	t.Cleanup(func() {
		if !eventually(func() bool { return runtime.NumGoroutine() <= goroutines }) {
			t.Errorf("%d goroutines at the end, %d at the beginning:\n%s", runtime.NumGoroutine(), goroutines, stacks())
		}
		if !eventually(func() bool { return openFiles(t) <= files }) {
			t.Errorf("%d files are open at the end, %d were at the beginning", openFiles(t), files)
		}
	})
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// eventually waits until ok holds, and reports whether it came to that.
func eventually(ok func() bool) bool {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for range int(patience / (2 * time.Millisecond)) {
		if ok() {
			return true
		}
		<-ticker.C
	}
	return false
}

// wait receives from a channel of something that should happen at once.
func wait[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s does not happen:\n%s", what, stacks())
	}
	return v
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
