// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

const (
	// pipeLimit is how long a plugin's output may stay open after it has ended.
	pipeLimit = 2 * time.Second
	// A plugin that is being replaced cannot be run for a moment.
	busyRetries, busyPause = 5, time.Second
)

// delCommand marks the one call that outlives us: the bridge plugin, cut off
// after it has deleted the link, does not find the masquerade rules a second time.
const delCommand = "CNI_COMMAND=DEL"

// pluginExec runs plugins for libcni. Unlike libcni's own it kills a plugin's
// whole process group when the context ends (a plugin runs its IPAM plugin as a
// child), and does not wait for a child that has inherited the output.
type pluginExec struct{ version.PluginDecoder }

var _ invoke.Exec = &pluginExec{}

// FindInPath returns the path of plugin, from the first of paths that has it.
func (pluginExec) FindInPath(plugin string, paths []string) (string, error) {
	return invoke.FindInPath(plugin, paths)
}

// ExecPlugin runs one plugin with the given standard input and environment, and
// returns its output. A plugin's own account of its failure is a *types.Error;
// the end of ctx is that of the context.
func (pluginExec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	for try := 0; ; try++ {
		out, err := runPlugin(ctx, path, stdin, environ)
		if !errors.Is(err, unix.ETXTBSY) || try == busyRetries {
			return out, err
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func runPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ, bytes.NewReader(stdin), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !slices.Contains(environ, delCommand) {
		// Plugins die with us: a DEL after our restart must not meet an ADD that
		// still runs. The signal comes when the thread ends that started the plugin.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	}
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	cmd.WaitDelay = pipeLimit
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) { // the latter: it succeeded, but a child lives on
		if stderr.Len() > 0 {
			klog.FromContext(ctx).V(4).Info("plugin wrote to its error output", "plugin", filepath.Base(path), "text", excerpt(stderr.Bytes()))
		}
		return stdout.Bytes(), checkOutput(filepath.Base(path), stdout.Bytes())
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("plugin %s was stopped: %w", filepath.Base(path), context.Cause(ctx))
	}
	return nil, pluginError(filepath.Base(path), err, stdout.Bytes(), stderr.Bytes())
}

func killGroup(p *os.Process) error {
	err := unix.Kill(-p.Pid, unix.SIGKILL)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// checkOutput refuses lists with empty entries: libcni panics over them, at once
// or later, when it reads them back from its cache. All else it checks itself.
func checkOutput(plugin string, stdout []byte) error {
	var result any
	if json.Unmarshal(stdout, &result) == nil && hasEmptyEntry(result) {
		return fmt.Errorf("plugin %s: its result has a null in a list: %s", plugin, excerpt(stdout))
	}
	return nil
}

func hasEmptyEntry(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.Contains(v, nil) || slices.ContainsFunc(v, hasEmptyEntry)
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), hasEmptyEntry)
	}
	return false
}

// pluginError prefers the JSON error that CNI asks of a plugin to what else is known.
func pluginError(plugin string, err error, stdout, stderr []byte) error {
	var e types.Error
	if json.Unmarshal(stdout, &e) == nil && e.Msg != "" {
		return &e
	}
	text := stderr
	if len(text) == 0 {
		text = stdout
	}
	if len(text) == 0 {
		return fmt.Errorf("plugin %s: %w, without a message", plugin, err)
	}
	return fmt.Errorf("plugin %s: %w: %s", plugin, err, excerpt(text))
}

// excerpt keeps a plugin's flood of output out of errors and logs.
func excerpt(text []byte) string {
	const most = 1024
	text = bytes.TrimSpace(text)
	if len(text) > most {
		text = append(text[:most:most], "..."...)
	}
	return string(text)
}
