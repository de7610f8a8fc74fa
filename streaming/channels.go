// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"golang.org/x/net/websocket"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"
)

// maxSize bounds the text of one size of a terminal.
const maxSize = 1 << 10

// serveChannels serves exec and attach in version 5 of the WebSocket protocol:
// each message begins with the number of a channel, and one of 255 and a number
// ends that channel. wsstream knows it as well, but ends its channels in the same
// way when the client is gone, and a command would take half of its input for
// all of it.
func (v *session) serveChannels(ws *websocket.Conn, r joinRequest) {
	defer ws.Close()
	stdin, resize := newInlet(), newInlet()
	in := inlets{remotecommand.StreamResize: resize}
	if r.GetStdin() {
		in[remotecommand.StreamStdIn] = stdin
	}
	closeAll := func() {
		stdin.Close()
		resize.Close()
	}
	defer closeAll()
	v.work.Go(func() {
		v.end(in.receive(ws)) // before the channels, so that this end does not look like one that the client meant
		closeAll()
	})
	// Clients may wait for a first message, as cri-streaming sends one.
	first := outlet{ws, remotecommand.StreamErr}
	switch {
	case r.GetStdout():
		first.number = remotecommand.StreamStdOut
	case r.GetStderr():
		first.number = remotecommand.StreamStdErr
	}
	_, _ = first.Write(nil) // an error has ended the session

	out, errs := outlet{ws, remotecommand.StreamStdOut}, outlet{ws, remotecommand.StreamStdErr}
	var s status
	if _, runs := r.(*cri.ExecRequest); runs {
		s = statusOf("error executing command in container", v.ExecInContainer(v.ctx, "", "", "", nil, stdin, out, errs, r.GetTty(), v.sizes(resize), 0))
	} else {
		s = statusOf("error attaching to container", v.AttachContainer(v.ctx, "", "", "", stdin, out, errs, r.GetTty(), v.sizes(resize)))
	}
	closeAll() // what the client still sends is dropped, and holds up nothing
	text, err := json.Marshal(s)
	if err == nil {
		_, _ = outlet{ws, remotecommand.StreamErr}.Write(text)
	}
}

// inlet is a channel on which a client sends. Its Close ends reading and writing,
// and is what a reader takes for its end.
type inlet struct {
	io.Reader
	io.WriteCloser
}

func newInlet() inlet {
	r, w := io.Pipe()
	return inlet{r, w}
}

// inlets are those channels that somebody reads, by number.
type inlets map[byte]inlet

// receive passes on what the client sends, and returns why there is no more.
// Messages may be of any size and in any number of frames, and are never held
// whole.
func (in inlets) receive(ws *websocket.Conn) error {
	buffer := make([]byte, chunk)
	var begun bool
	var channel byte // if begun
	for {
		frame, err := ws.NewFrameReader()
		if err != nil {
			return errGone
		}
		continued := frame.PayloadType() == websocket.ContinuationFrame
		if frame, err = ws.HandleFrame(frame); err != nil {
			return errGone // or says so
		}
		if frame == nil {
			continue // a ping; it may stand between the frames of a message
		}
		begun = begun && continued
		for err == nil {
			var n int
			n, err = frame.Read(buffer)
			data := buffer[:n]
			if !begun && n > 0 {
				begun, channel, data = true, data[0], data[1:]
			}
			if len(data) == 0 {
				continue
			}
			if channel == remotecommand.StreamClose {
				if err := in.close(data); err != nil {
					return err
				}
			} else if to, found := in[channel]; found {
				_, _ = to.Write(data) // fails when nobody reads it any more
			}
		}
	}
}

// close ends a channel.
func (in inlets) close(data []byte) error {
	if len(data) != 1 || data[0] > remotecommand.StreamResize {
		return fmt.Errorf("the client ends channel %x, which there is not", data[:min(len(data), 8)])
	}
	if channel, found := in[data[0]]; found {
		channel.Close()
	}
	return nil
}

// outlet is a channel on which a client is sent.
type outlet struct {
	ws     *websocket.Conn
	number byte
}

func (o outlet) Write(b []byte) (int, error) {
	if err := websocket.Message.Send(o.ws, append([]byte{o.number}, b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close has nothing to say: all channels end with the connection.
func (o outlet) Close() error { return nil }

// sizes reads the sizes of a terminal. The first one that is none is the last,
// as with cri-streaming, but what follows it is not in the way of other channels.
func (v *session) sizes(from io.Reader) <-chan remotecommand.TerminalSize {
	sizes := make(chan remotecommand.TerminalSize)
	v.work.Go(func() {
		defer func() { _, _ = io.Copy(io.Discard, from) }()
		defer close(sizes)
		limited := &io.LimitedReader{R: from}
		decoder := json.NewDecoder(limited)
		for {
			limited.N = maxSize
			var size remotecommand.TerminalSize
			if err := decoder.Decode(&size); err != nil {
				return
			}
			select {
			case sizes <- size:
			case <-v.ctx.Done():
				return
			}
		}
	})
	return sizes
}

// status is as much of the API's type as tells how exec and attach have ended,
// in cri-streaming's words.
type status struct {
	Status  string         `json:"status"`
	Message string         `json:"message,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	Details *statusDetails `json:"details,omitempty"`
	Code    int            `json:"code,omitempty"`
}

type statusDetails struct {
	Causes []statusCause `json:"causes"`
}

type statusCause struct {
	Type    string `json:"reason"` // so it is called on the wire
	Message string `json:"message"`
}

func statusOf(what string, err error) status {
	var exit exec.CodeExitError
	switch {
	case err == nil:
		return status{Status: "Success"}
	case errors.As(err, &exit):
		return status{
			Status:  "Failure",
			Message: fmt.Sprintf("command terminated with non-zero exit code: %v", err),
			Reason:  remotecommand.NonZeroExitCodeReason,
			Details: &statusDetails{[]statusCause{{remotecommand.ExitCodeCauseType, strconv.Itoa(exit.Code)}}},
		}
	}
	return status{
		Status:  "Failure",
		Message: fmt.Sprintf("Internal error occurred: %s: %v", what, err),
		Reason:  "InternalError",
		Code:    http.StatusInternalServerError,
	}
}
