// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// execCases are the requests that CheckExec lets through.
func execCases() (cases []*cri.ExecRequest) {
	for bits := range 16 {
		r := &cri.ExecRequest{ContainerId: "c1", Cmd: []string{"true"}, Stdin: bits&1 != 0, Stdout: bits&2 != 0, Stderr: bits&4 != 0, Tty: bits&8 != 0}
		if checkJoin(r) == nil {
			cases = append(cases, r)
		}
	}
	return cases
}

// echo answers on each output what it got as input, and exits with 3. It fails if
// a stream is there that was not asked for, or the other way about.
func echo(_ context.Context, r *cri.ExecRequest, stdin io.Reader, stdout, stderr io.Writer, resize <-chan remotecommand.TerminalSize) (int, error) {
	if (stdin != nil) != r.Stdin || (stdout != nil) != r.Stdout || (stderr != nil) != r.Stderr || (resize != nil) != r.Tty {
		return 0, fmt.Errorf("streams are %v, %v, %v, %v", stdin, stdout, stderr, resize)
	}
	text := []byte("no input")
	if stdin != nil {
		text = make([]byte, 4)
		if _, err := io.ReadFull(stdin, text); err != nil {
			return 0, err
		}
	}
	if resize != nil {
		text = append(text, fmt.Sprint(<-resize)...)
	}
	for _, w := range []io.Writer{stdout, stderr} {
		if w != nil {
			if _, err := w.Write(text); err != nil {
				return 0, err
			}
		}
	}
	return 3, nil
}

func echoed(r *cri.ExecRequest, asked bool) string {
	text := "no input"
	switch {
	case !asked:
		return ""
	case r.Stdin:
		text = "ping"
	}
	if r.Tty {
		text += "{80 24}"
	}
	return text
}

const exit3 = `{"status":"Failure","message":"command terminated with non-zero exit code: exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}`

func TestExecBySPDY(t *testing.T) {
	server := start(t, Config{}, &fake{exec: echo})
	for _, r := range execCases() {
		t.Run(r.String(), func(t *testing.T) {
			s := openSPDY(t, must(server.ExecURL(r))(t), typesOf(r)...)
			if r.Tty {
				fmt.Fprint(s.streams["resize"], `{"Width":80,"Height":24}`)
			}
			if r.Stdin {
				fmt.Fprint(s.streams["stdin"], "ping")
			}
			if r.Stdout {
				if got, want := readAll(t, s.streams["stdout"]), echoed(r, true); got != want {
					t.Errorf("stdout is %q, want %q", got, want)
				}
			}
			if r.Stderr {
				if got, want := readAll(t, s.streams["stderr"]), echoed(r, true); got != want {
					t.Errorf("stderr is %q, want %q", got, want)
				}
			}
			if got := readAll(t, s.streams["error"]); got != exit3 {
				t.Errorf("status is %s", got)
			}
		})
	}
}

func TestExecByWebSocket(t *testing.T) {
	server := start(t, Config{}, &fake{exec: echo})
	for _, protocol := range webSockets {
		for _, r := range execCases() {
			t.Run(protocol+" "+r.String(), func(t *testing.T) {
				c := openChannels(t, must(server.ExecURL(r))(t), protocol)
				if r.Tty {
					c.send(4, `{"Width":80,"Height":24}`)
				} else {
					c.send(4, `{"Width":1,"Height":1} {"Width":2,"Height":2}`) // must not be in the way
				}
				c.send(0, "ping")
				got := c.receive()
				for channel, want := range map[int]string{1: echoed(r, r.Stdout), 2: echoed(r, r.Stderr), 3: exit3} {
					if got[channel] != want {
						t.Errorf("channel %d is %q, want %q", channel, got[channel], want)
					}
				}
			})
		}
	}
}

func TestExecSuccessAndErrors(t *testing.T) {
	for _, test := range []struct {
		name, want string
		code       int
		err        error
		panics     bool
	}{
		{name: "success", want: `{"status":"Success"}`},
		{name: "high code", code: 255, want: `"message":"255"`},
		{name: "error", err: errors.New("no such container"), want: `error executing command in container: no such container`},
		{name: "panic", panics: true, want: `a bug of the server`},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := start(t, Config{}, &fake{exec: func(context.Context, *cri.ExecRequest, io.Reader, io.Writer, io.Writer, <-chan remotecommand.TerminalSize) (int, error) {
				if test.panics {
					panic("on purpose")
				}
				return test.code, test.err
			}})
			r := &cri.ExecRequest{ContainerId: "c1", Stdout: true, Cmd: []string{"canary"}}
			var status string
			for _, protocol := range []string{remotecommand.StreamProtocolV4Name, remotecommand.StreamProtocolV2Name} {
				rawURL := must(server.ExecURL(r))(t)
				s := openSPDYOn(t, dial(t, rawURL), rawURL, protocol, typesOf(r)...)
				got := readAll(t, s.streams["error"])
				if protocol == remotecommand.StreamProtocolV4Name {
					status = got
				}
			}
			if !strings.Contains(status, test.want) {
				t.Errorf("status is %s, want %s", status, test.want)
			}
			if got := openChannels(t, must(server.ExecURL(r))(t), "v5.channel.k8s.io").receive()[3]; got != status {
				t.Errorf("status by WebSocket is %s, by SPDY %s", got, status)
			}
			if err := server.stop(); err != nil {
				t.Error(err)
			}
			log := server.log.String()
			if n := strings.Count(log, "streaming session ended"); n != 3 {
				t.Errorf("%d sessions are in the log:\n%s", n, log)
			}
			if strings.Contains(log, "canary") {
				t.Errorf("the command is in the log:\n%s", log)
			}
			if strings.Contains(log, "panic in") != test.panics {
				t.Errorf("the log is\n%s", log)
			}
		})
	}
}

// TestResizeNewest keeps the size that came before anything else, and passes by
// those that nobody took in time.
func TestResizeNewest(t *testing.T) {
	var sent chan struct{}
	server := start(t, Config{}, &fake{exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, stdout, _ io.Writer, resize <-chan remotecommand.TerminalSize) (int, error) {
		first := <-resize
		<-sent
		_, _ = io.ReadFull(stdin, make([]byte, 1)) // is behind the sizes
		for size := range resize {
			if size.Width == 99 {
				fmt.Fprint(stdout, first, size)
				return 0, nil
			}
		}
		return 1, nil
	}})
	r := &cri.ExecRequest{ContainerId: "c1", Stdin: true, Stdout: true, Tty: true}
	for _, protocol := range webSockets {
		sent = make(chan struct{})
		c := openChannels(t, must(server.ExecURL(r))(t), protocol)
		for width := range 100 {
			c.send(4, fmt.Sprintf(`{"Width":%d,"Height":1}`, width))
			if width == 0 {
				close(sent)
			}
		}
		c.send(0, "x")
		if got := c.receive()[1]; !strings.HasSuffix(got, " {99 1}") {
			t.Errorf("%s: sizes are %q", protocol, got)
		}
	}
}

// TestHalfClose reads input to its end and answers then.
func TestHalfClose(t *testing.T) {
	server := start(t, Config{}, &fake{exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, stdout, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
		b, err := io.ReadAll(stdin)
		fmt.Fprintf(stdout, "%d", len(b))
		return 0, err
	}})
	r := &cri.ExecRequest{ContainerId: "c1", Stdin: true, Stdout: true}
	s := openSPDY(t, must(server.ExecURL(r))(t), typesOf(r)...)
	fmt.Fprint(s.streams["stdin"], "12345")
	s.streams["stdin"].Close()
	if got := readAll(t, s.streams["stdout"]); got != "5" {
		t.Errorf("read %q", got)
	}
	if got := readAll(t, s.streams["error"]); got != `{"status":"Success"}` {
		t.Errorf("status is %s", got)
	}
}

// TestStdinClose ends a Read that waits, as a backend does whose process is over.
func TestStdinClose(t *testing.T) {
	server := start(t, Config{}, &fake{exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, _, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
		read := make(chan error)
		go func() {
			_, err := stdin.Read(make([]byte, 1))
			read <- err
		}()
		stdin.(io.Closer).Close()
		if err := <-read; err != io.EOF {
			return 0, err
		}
		return 3, nil
	}})
	r := &cri.ExecRequest{ContainerId: "c1", Stdin: true}
	s := openSPDY(t, must(server.ExecURL(r))(t), typesOf(r)...)
	if got := readAll(t, s.streams["error"]); got != exit3 {
		t.Errorf("status is %s", got)
	}
	for _, protocol := range webSockets {
		if got := openChannels(t, must(server.ExecURL(r))(t), protocol).receive()[3]; got != exit3 {
			t.Errorf("%s: status is %s", protocol, got)
		}
	}
}

func TestAttach(t *testing.T) {
	server := start(t, Config{}, &fake{attach: func(_ context.Context, r *cri.AttachRequest, stdin io.Reader, stdout, stderr io.Writer, resize <-chan remotecommand.TerminalSize) error {
		if resize != nil || stderr != nil {
			return errors.New("streams that were not asked for")
		}
		if _, err := io.CopyN(stdout, stdin, 4); err != nil {
			return err
		}
		return fmt.Errorf("attached to %s", r.ContainerId)
	}})
	r := &cri.AttachRequest{ContainerId: "c1", Stdin: true, Stdout: true}
	s := openSPDY(t, must(server.AttachURL(r))(t), typesOf(r)...)
	fmt.Fprint(s.streams["stdin"], "ping")
	if got := readAll(t, s.streams["stdout"]); got != "ping" {
		t.Errorf("stdout is %q", got)
	}
	status := readAll(t, s.streams["error"])
	if !strings.Contains(status, "error attaching to container: attached to c1") {
		t.Errorf("status is %s", status)
	}
	for _, protocol := range webSockets {
		c := openChannels(t, must(server.AttachURL(r))(t), protocol)
		c.send(0, "ping")
		if got := c.receive(); got[1] != "ping" || got[3] != status {
			t.Errorf("%s: channels are %v", protocol, got)
		}
	}
}
