// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

func script(t *testing.T, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+strings.Join(lines, "\n")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestExecPassesInputAndEnvironment(t *testing.T) {
	out, err := (&pluginExec{}).ExecPlugin(t.Context(), script(t, `echo "$CNI_COMMAND $(cat)"; echo noise >&2`), []byte("input"), []string{"CNI_COMMAND=ADD", "PATH=" + os.Getenv("PATH")})
	if err != nil || string(out) != "ADD input\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

// A plugin may leave a daemon behind that never closes its output.
func TestExecDoesNotWaitForADaemon(t *testing.T) {
	start := time.Now()
	out, err := (&pluginExec{}).ExecPlugin(t.Context(), script(t, `setsid sleep 5 & echo done`), nil, os.Environ())
	if err != nil || string(out) != "done\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if took := time.Since(start); took >= 5*time.Second {
		t.Errorf("waited %v", took)
	}
}

// A main plugin waits for its IPAM plugin, which may be the one that hangs.
func TestExecKillsChildren(t *testing.T) {
	file := script(t, `sleep 60 & echo $! > "$0.child"; wait`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := (&pluginExec{}).ExecPlugin(ctx, file, nil, os.Environ())
		ended <- err
	}()
	var child int
	eventually(t, "the child runs", func() bool {
		text, err := os.ReadFile(file + ".child")
		if err == nil {
			_, err = fmt.Sscanln(string(text), &child)
		}
		return err == nil
	})
	start := time.Now()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if took := time.Since(start); took >= pipeLimit {
		t.Errorf("waited %v: the child kept the output open", took)
	}
	eventually(t, "the child is gone", func() bool { return gone(child) })
}

// gone tells whether a process has ended. Where nobody reaps orphans it stays a zombie.
func gone(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(state), ") Z ")
}

func TestExecErrors(t *testing.T) {
	tests := []struct {
		name, line string
		says       []string
	}{
		{"JSON", `echo '{"code": 11, "msg": "busy", "details": "come back"}'; exit 1`, []string{"busy; come back"}},
		{"text on stderr", `echo "panic: no" >&2; exit 2`, []string{"plugin plugin", "exit status 2", "panic: no"}},
		{"text on stdout", `echo '<html>'; exit 3`, []string{"exit status 3", "<html>"}},
		{"nothing", `exit 4`, []string{"exit status 4", "without a message"}},
		{"a signal", `kill -9 $$`, []string{"signal: killed"}},
		{"a flood", `head -c 100000 /dev/zero | tr '\0' x >&2; exit 1`, []string{"xxx..."}},
	}
	for _, test := range tests {
		_, err := (&pluginExec{}).ExecPlugin(t.Context(), script(t, test.line), nil, os.Environ())
		wantError(t, err, test.says...)
		if err != nil && len(err.Error()) > 2000 {
			t.Errorf("%s: the error has %d bytes", test.name, len(err.Error()))
		}
		var e *types.Error
		if got := errors.As(err, &e); got != (test.name == "JSON") {
			t.Errorf("%s: error is a CNI error: %v", test.name, got)
		}
	}
	_, err := (&pluginExec{}).ExecPlugin(t.Context(), "/nonexistent/plugin", nil, nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent plugin: %v", err)
	}
}

func TestExecRetriesWhileThePluginIsWritten(t *testing.T) {
	file := script(t, "echo done")
	text, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Skip("no binary to run:", err)
	}
	if err := os.WriteFile(file, text, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { f.Close() })
	if _, err := (&pluginExec{}).ExecPlugin(t.Context(), file, nil, nil); err != nil {
		t.Error(err)
	}
}
