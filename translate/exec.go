// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"strings"

	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// detachKeys are what has to be typed on a terminal for the engine to end its
// stream. Its own choice, ctrl-p ctrl-q, takes ctrl-p away from every shell
// (kubernetes/kubernetes#71765). There must be some, and the engine holds the
// first key back until the next one is typed: NUL, which editors take for the
// setting of a mark, shows no effect before that either. The rest is nothing
// that anybody types.
const detachKeys = "ctrl-@,ctrl-_,ctrl-@,ctrl-^,ctrl-@,ctrl-_,ctrl-@,ctrl-^"

// TerminalSize is in characters; the zero value is not known.
type TerminalSize struct{ Width, Height uint16 }

// ExecSyncBody is the command of an ExecSync request.
func ExecSyncBody(r *cri.ExecSyncRequest) container.ExecOptions {
	return container.ExecOptions{Cmd: r.GetCmd(), AttachStdout: true, AttachStderr: true}
}

// ExecBody is the command of an Exec request. The size is that of its terminal,
// if it has one. Engines before API 1.42 do not take it.
//
// The output is asked for in any case: there the engine says why a command
// cannot be started.
func ExecBody(r *cri.ExecRequest, size TerminalSize) container.ExecOptions {
	body := container.ExecOptions{
		Cmd:          r.GetCmd(),
		Tty:          r.GetTty(),
		AttachStdin:  r.GetStdin(),
		AttachStdout: true,
		AttachStderr: r.GetStderr(),
	}
	if r.GetTty() {
		body.DetachKeys = detachKeys
		if size != (TerminalSize{}) {
			body.ConsoleSize = &[2]uint{uint(size.Height), uint(size.Width)}
		}
	}
	return body
}

// ExecStart starts the command of a body.
func ExecStart(body container.ExecOptions) container.ExecAttachOptions {
	return container.ExecAttachOptions{Tty: body.Tty, ConsoleSize: body.ConsoleSize}
}

// AttachBody joins the streams of a container that the request asks for. The
// output is asked for in any case: it ends with the container.
func AttachBody(r *cri.AttachRequest, c container.InspectResponse) container.AttachOptions {
	body := container.AttachOptions{
		Stream: true,
		Stdin:  r.GetStdin() && c.Config.OpenStdin,
		Stdout: true,
		Stderr: r.GetStderr() && !c.Config.Tty,
	}
	if c.Config.Tty {
		body.DetachKeys = detachKeys
	}
	return body
}

// ResizeBody is the new size of a terminal.
func ResizeBody(size TerminalSize) container.ResizeOptions {
	return container.ResizeOptions{Height: uint(size.Height), Width: uint(size.Width)}
}

// ExecEndsStdin tells whether the end of a client's input may be passed on to
// the command of a body. On a terminal the engine takes it for the end of the
// whole stream, and cuts the output off.
func ExecEndsStdin(body container.ExecOptions) bool { return !body.Tty }

// AttachEndsStdin is ExecEndsStdin for a container. Its input must besides be
// one that ends with its first client, or the engine cuts the output off again.
func AttachEndsStdin(c container.InspectResponse) bool {
	return c.Config.StdinOnce && !c.Config.Tty
}

// Exit codes by which a shell says that it could not run a command (POSIX,
// Shell Command Language, 2.8.2). The engine gives them to containers too.
const (
	exitNotRunnable = 126
	exitNotFound    = 127
)

// StartFailureMark is how the engine begins what it writes to the output of a
// command that it could not start.
const StartFailureMark = "OCI runtime exec failed"

// StartFailure reads what the engine wrote to the output of a command that it
// could not start, and the exit code that it gave it. It returns what a shell
// would: a code, and why. That it is the command's own fault, and not the
// engine's or the container's, can only be told by the text, since 20.10 and
// 26.1 say 126 to everything; ok is false if it is not.
func StartFailure(engineCode int, text string) (code int, reason string, ok bool) {
	reason = strings.TrimSuffix(strings.TrimSpace(text), ": unknown")
	// runc quotes the command that it looked for, or names the directory.
	at := strings.Index(reason, `exec: "`)
	if at < 0 {
		at = strings.Index(reason, "chdir to cwd")
	}
	if at < 0 {
		return engineCode, reason, false
	}
	reason = reason[at:]
	if strings.Contains(reason, "executable file not found") || strings.Contains(reason, "no such file or directory") {
		return exitNotFound, reason, true
	}
	return exitNotRunnable, reason, true
}

// CheckExecSync refuses what no command can be made of.
func CheckExecSync(r *cri.ExecSyncRequest) error {
	var p problems
	checkCommand(&p, r.GetCmd())
	if r.GetTimeout() < 0 {
		p.add("timeout", "%d s is negative; 0 means for ever", r.GetTimeout())
	}
	return p.err()
}

// CheckExec refuses what no command or no stream can be made of.
func CheckExec(r *cri.ExecRequest) error {
	var p problems
	checkCommand(&p, r.GetCmd())
	checkStreams(&p, r)
	return p.err()
}

// CheckAttach refuses what no stream can be made of.
func CheckAttach(r *cri.AttachRequest) error {
	var p problems
	checkStreams(&p, r)
	return p.err()
}

// CheckPortForward refuses ports that cannot be. The list may be empty: SPDY
// clients name the port of each connection.
func CheckPortForward(r *cri.PortForwardRequest) error {
	var p problems
	for _, port := range r.GetPort() {
		if port < 1 || port > 65535 {
			p.add("port", "%d is no port: want 1 to 65535", port)
		}
	}
	return p.err()
}

func checkCommand(p *problems, cmd []string) {
	if len(cmd) == 0 || cmd[0] == "" {
		p.add("cmd", "names no command")
	}
	checkText(p, "cmd", cmd)
}

// streamed is a request for streams.
type streamed interface {
	GetTty() bool
	GetStdin() bool
	GetStdout() bool
	GetStderr() bool
}

func checkStreams(p *problems, r streamed) {
	if r.GetTty() && r.GetStderr() {
		p.add("stderr", "a terminal has one output: leave stderr out, or tty")
	}
	if !r.GetStdin() && !r.GetStdout() && !r.GetStderr() {
		p.add("stdout", "at least one of stdin, stdout and stderr is required")
	}
}
