// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

const v5 = "v5.channel.k8s.io"

var execInput = &cri.ExecRequest{ContainerId: "c1", Stdin: true, Stdout: true}

// openRaw opens a session whose connection can be written to frame by frame.
func openRaw(t testing.TB, rawURL, protocol string) (net.Conn, *channels) {
	t.Helper()
	tcp := dial(t, rawURL)
	config := must(websocket.NewConfig(strings.Replace(rawURL, "http", "ws", 1), "http://localhost"))(t)
	config.Protocol = []string{protocol}
	return tcp, &channels{t: t, ws: must(websocket.NewClient(config, tcp))(t)}
}

// What a frame begins with.
const (
	final        = 0x80
	continuation = 0
	text         = 1
	binaryData   = 2
	goodbye      = 8
	ping         = 9
)

// frame is one that is masked with zeros.
func frame(first byte, data string) string {
	header := binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, uint64(len(data)))
	if len(data) < 126 {
		header = []byte{first, 0x80 | byte(len(data))}
	}
	return string(header) + "\x00\x00\x00\x00" + data
}

// TestInputEnds lets a client end its input alone, of exec and of attach.
func TestInputEnds(t *testing.T) {
	count := func(stdin io.Reader, stdout io.Writer) error {
		b, err := io.ReadAll(stdin)
		for range 3 {
			fmt.Fprint(stdout, len(b))
		}
		return err
	}
	server := start(t, Config{}, &fake{
		exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, stdout, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
			return 3, count(stdin, stdout)
		},
		attach: func(_ context.Context, _ *cri.AttachRequest, stdin io.Reader, stdout, _ io.Writer, _ <-chan remotecommand.TerminalSize) error {
			return count(stdin, stdout)
		},
	})
	for rawURL, want := range map[string]string{
		must(server.ExecURL(execInput))(t): exit3,
		must(server.AttachURL(&cri.AttachRequest{ContainerId: "c1", Stdin: true, Stdout: true}))(t): `{"status":"Success"}`,
	} {
		c := openChannels(t, rawURL, v5)
		c.send(0, "12345")
		c.send(255, "\x00")
		c.send(0, "too late")
		c.send(255, "\x00")
		if got := c.receive(); got[1] != "555" || got[3] != want {
			t.Errorf("channels are %v", got)
		}
	}
}

// TestInputIsLost has clients that are cut off: a command must not take half of
// its input for all of it.
func TestInputIsLost(t *testing.T) {
	lost := make(chan error, 1)
	server := start(t, Config{}, &fake{exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, _, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
		if _, err := io.ReadFull(stdin, make([]byte, 4)); err != nil {
			return 0, err
		}
		_, err := io.Copy(io.Discard, stdin)
		lost <- err
		return 0, err
	}})
	for name, test := range map[string]struct{ bytes, want string }{
		"connection closed":      {"", errGone.Error()},
		"torn header":            {frame(final|binaryData, "\x00more")[:1], errGone.Error()},
		"torn frame":             {frame(final|binaryData, "\x00more")[:8], errGone.Error()},
		"torn end":               {frame(final|binaryData, "\xff\x00")[:7], errGone.Error()},
		"first of two frames":    {frame(binaryData, "\x00more"), errGone.Error()},
		"goodbye":                {frame(final|goodbye, "\x03\xe8"), errGone.Error()},
		"unmasked":               {"\x82\x05\x00more", errGone.Error()},
		"end of no channel":      {frame(final|binaryData, "\xff\x05"), "the client ends channel 05, which there is not"},
		"end of two channels":    {frame(final|binaryData, "\xff\x00\x04"), "the client ends channel 0004, which there is not"},
		"end and very much more": {frame(final|binaryData, "\xff"+strings.Repeat("x", 1000)), "the client ends channel 7878787878787878, which there is not"},
	} {
		t.Run(name, func(t *testing.T) {
			tcp, c := openRaw(t, must(server.ExecURL(execInput))(t), v5)
			c.send(0, "half")
			fmt.Fprint(tcp, test.bytes)
			if test.want == errGone.Error() && name != "goodbye" {
				tcp.Close()
			}
			if err := wait(t, "the end of the input", lost); err == nil || err.Error() != test.want {
				t.Errorf("the input ends with %v", err)
			}
		})
	}
}

// TestMessagesInFrames has messages in pieces, with pings in between.
func TestMessagesInFrames(t *testing.T) {
	server := start(t, Config{}, &fake{exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, stdout, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
		_, err := io.Copy(stdout, stdin)
		return 3, err
	}})
	tcp, c := openRaw(t, must(server.ExecURL(execInput))(t), v5)
	for _, f := range []string{
		frame(binaryData, ""), frame(continuation, "\x00on"), frame(final|ping, "?"), frame(final|continuation, "e "),
		frame(final|binaryData, ""), frame(final|binaryData, "\x00"), frame(final|text, "\x00two "),
		frame(final|binaryData, "\x00three "),
		frame(binaryData, "\x00four"), frame(final|binaryData, "\x00, five"),
		frame(binaryData, "\xff"), frame(final|continuation, "\x00"),
	} {
		for _, b := range []byte(f) {
			_, _ = tcp.Write([]byte{b})
		}
	}
	if got := c.receive(); got[1] != "one two three four, five" || got[3] != exit3 {
		t.Errorf("channels are %v", got)
	}
}

// TestChannelsThatNobodyReads are not in the way of the others.
func TestChannelsThatNobodyReads(t *testing.T) {
	server := start(t, Config{}, &fake{exec: echo})
	for _, r := range []*cri.ExecRequest{execInput, execOutput} {
		c := openChannels(t, must(server.ExecURL(r))(t), v5)
		if !r.Stdin {
			c.send(0, strings.Repeat("nobody", 1000))
			c.send(255, "\x00")
		}
		for _, channel := range []int{1, 2, 3, 5, 100, 254} {
			c.send(channel, "nobody")
		}
		for channel := range 4 {
			c.send(255, string(rune(channel+1)))
		}
		if r.Stdin {
			c.send(0, "ping")
		}
		if got := c.receive(); got[1] != echoed(r, true) || got[3] != exit3 {
			t.Errorf("channels are %v", got)
		}
	}
}

// TestSizesThatAreNone are the end of the sizes, and of nothing else.
func TestSizesThatAreNone(t *testing.T) {
	server := start(t, Config{}, &fake{exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, stdout, _ io.Writer, resize <-chan remotecommand.TerminalSize) (int, error) {
		fmt.Fprint(stdout, <-resize)
		if _, more := <-resize; more {
			fmt.Fprint(stdout, "another size")
		}
		_, err := io.Copy(stdout, stdin)
		return 3, err
	}})
	r := &cri.ExecRequest{ContainerId: "c1", Stdin: true, Stdout: true, Tty: true}
	for _, bad := range []string{"nonsense", "[]", `{"Width":70000}`, `{"Width":-1}`, strings.Repeat("9", 1<<20), strings.Repeat(" ", 1<<20), `{"Width":` + strings.Repeat("[", 1<<20)} {
		c := openChannels(t, must(server.ExecURL(r))(t), v5)
		c.send(4, `{"Width":80,"He`)
		c.send(4, `ight":24}`)
		for range 3 {
			c.send(4, bad)
		}
		c.send(0, "input")
		c.send(255, "\x00")
		if got := c.receive(); got[1] != "{80 24}input" || got[3] != exit3 {
			t.Errorf("after %.20s channels are %v", bad, got)
		}
	}
}

// TestHugeMessage is larger than what the libraries take, and is not held whole.
func TestHugeMessage(t *testing.T) {
	const size = 33 << 20
	server := start(t, Config{}, &fake{exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, stdout, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
		n, err := io.Copy(io.Discard, stdin)
		fmt.Fprint(stdout, n)
		return 3, err
	}})
	tcp, c := openRaw(t, must(server.ExecURL(execInput))(t), v5)
	_, _ = io.WriteString(tcp, frame(final|binaryData, strings.Repeat("\x00", size+1)))
	c.send(255, "\x00")
	if got := c.receive(); got[1] != fmt.Sprint(size) || got[3] != exit3 {
		t.Errorf("channels are %v", got)
	}
}

// TestInputUnread has clients that go on sending what nobody reads, while the
// command ends.
func TestInputUnread(t *testing.T) {
	full := make(chan struct{})
	server := start(t, Config{}, &fake{exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, stdout, _ io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
		<-full
		fmt.Fprint(stdout, "done")
		return 3, nil
	}})
	c := openChannels(t, must(server.ExecURL(execInput))(t), v5)
	sent := flood(c.ws, 8<<20, func(b []byte) error { return c.trySend(0, string(b)) })
	close(full)
	if got := c.receive(); got[1] != "done" || got[3] != exit3 {
		t.Errorf("channels are %v", got)
	}
	c.ws.Close()
	wait(t, "the end of the flood", sent)
}
