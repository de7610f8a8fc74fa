// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/dockershimd/dockershimd/internal/fakeengine"
)

// busybox does on the fake what the containers of the suite do.
func busybox(c container.InspectResponse) fakeengine.Process {
	command := append([]string{c.Path}, c.Args...)
	switch {
	case slices.Equal(command, idle):
		return fakeengine.Process{}
	case slices.Equal(command, missing):
		return fakeengine.Process{Error: fmt.Sprintf("exec: %q: no such file or directory", missing[0]), ExitCode: 127}
	case command[1] == "grep":
		files := map[string]string{"/etc/resolv.conf": c.ResolvConfPath, "/etc/hostname": c.HostnamePath}
		return grep(command[3], files[command[4]])
	}
	if code, ok := exitCode(command); ok {
		return fakeengine.Process{Exited: true, ExitCode: code}
	}
	return fakeengine.Process{Run: play(command, c.Config.Tty)}
}

func grep(text, path string) fakeengine.Process {
	content, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	if slices.Contains(strings.Split(string(content), "\n"), text) {
		return fakeengine.Process{Exited: true}
	}
	return fakeengine.Process{Exited: true, ExitCode: 1}
}

// busyboxExec does what is run in the containers besides.
func busyboxExec(_ container.InspectResponse, options container.ExecOptions) fakeengine.Command {
	if slices.Equal(options.Cmd, missing) {
		return fakeengine.Command{
			Error:    fmt.Sprintf("OCI runtime exec failed: exec failed: unable to start container process: exec: %q: no such file or directory: unknown\r\n", missing[0]),
			ExitCode: 126,
		}
	}
	if code, ok := exitCode(options.Cmd); ok {
		return fakeengine.Command{ExitCode: code}
	}
	return fakeengine.Command{Run: play(options.Cmd, options.Tty)}
}

// exitCode is that of a command of exits.
func exitCode(command []string) (code int, ok bool) {
	for code := range 256 {
		if slices.Equal(command, exits(code)) {
			return code, true
		}
	}
	return 0, false
}

// plays are the commands that speak.
var plays = []struct {
	command []string
	run     func(ctx context.Context, std fakeengine.Stdio) int
}{
	{speaks, func(_ context.Context, std fakeengine.Stdio) int {
		fmt.Fprintln(std.Stdout, "out")
		fmt.Fprintln(std.Stderr, "err")
		return 7
	}},
	{counts, func(_ context.Context, std fakeengine.Stdio) int {
		w := bufio.NewWriter(std.Stdout)
		defer w.Flush()
		for i := range 50000 {
			fmt.Fprintln(w, i+1)
		}
		return 0
	}},
	{echoes, func(_ context.Context, std fakeengine.Stdio) int {
		io.Copy(std.Stdout, std.Stdin)
		fmt.Fprintln(std.Stdout, "end")
		return 0
	}},
	{measures, func(_ context.Context, std fakeengine.Stdio) int {
		fmt.Fprintln(std.Stdout, "ready")
		var size [2]uint
		for lines := bufio.NewScanner(std.Stdin); lines.Scan(); {
			for len(std.Sizes) > 0 {
				size = <-std.Sizes
			}
			fmt.Fprintln(std.Stdout, size[0], size[1])
		}
		return 0
	}},
	{repeats, func(_ context.Context, std fakeengine.Stdio) int {
		fmt.Fprintln(std.Stdout, "ready")
		io.Copy(std.Stdout, std.Stdin)
		return 0
	}},
	{lasts, func(ctx context.Context, std fakeengine.Stdio) int {
		fmt.Fprintln(std.Stdout, "ready")
		<-ctx.Done()
		return 0
	}},
	{idle, func(ctx context.Context, _ fakeengine.Stdio) int {
		<-ctx.Done()
		return 0
	}},
	{dies, func(context.Context, fakeengine.Stdio) int { return 137 }},
}

func play(command []string, tty bool) func(context.Context, fakeengine.Stdio) int {
	for _, p := range plays {
		if !slices.Equal(command, p.command) {
			continue
		}
		return func(ctx context.Context, std fakeengine.Stdio) int {
			if tty && !slices.Equal(command, repeats) { // which sets its terminal to raw
				std.Stdout, std.Stderr = cooked{std.Stdout}, cooked{std.Stderr}
			}
			return p.run(ctx, std)
		}
	}
	panic(fmt.Sprint("the suite has no such command: ", command))
}

// cooked writes lines the way a terminal shows them.
type cooked struct{ io.Writer }

func (c cooked) Write(p []byte) (int, error) {
	_, err := c.Writer.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")))
	return len(p), err
}
