// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/moby/spdystream/spdy"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
)

const (
	// maxStreams bounds the streams of a session: two for each connection.
	maxStreams = 2 * maxForwards
	// What a frame may hold. kubectl opens streams with three short headers. A
	// frame that compresses well would be gigabytes otherwise.
	maxControlFrame = 16 << 10
	maxHeaderField  = 1 << 10
	maxHeaders      = 16
	// maxData is what is passed on in one frame: the library queues hundreds, and
	// clients may make them 16 MiB.
	maxData = 32 << 10
	// maxResize bounds the sizes of a terminal in a session, as the library
	// collects one that does not end.
	maxResize = 16 << 20
	// maxStreamID leaves room for the streams that are made up.
	maxStreamID = 1<<31 - 1 - 2*5
)

// frames is a peer that speaks SPDY. It passes on, frame by frame, what
// spdystream and the library above it can take without getting stuck for ever:
//
//   - A stream is opened only when the one before has been answered, and only if
//     it was announced. The libraries' goroutine that brings a stream waits until
//     it is taken, and nobody takes one that comes at the end or unexpected.
//   - Data goes only to streams that somebody has begun to read: a goroutine with
//     data waits for a reader, too, and others' data behind it.
//   - If the connection ends before all streams are there, the missing ones are
//     made up, as the library waits for them without looking at the connection.
//   - Writes succeed even if the client is gone: a stream whose reply failed would
//     let its writers wait for ever. What ends a session is its context.
type frames struct {
	*peer
	carrier io.ReadWriteCloser // peer, or a WebSocket over it

	in     *spdy.Framer
	out    *spdy.Framer // writes passed
	passed bytes.Buffer // for the library to read
	sizes  int          // bytes of terminal sizes so far
	ended  error        // why nothing more comes from the client
	unsent []byte       // of the frame that the library is writing

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when something below changes
	joins   bool          // exec or attach, whose streams are known beforehand
	wanted  []string      // types of theirs that are still to come
	next    spdy.StreamId // the least that the next stream can have
	waiting bool          // the newest stream has not been answered
	streams map[spdy.StreamId]*openStream
}

// openStream is a stream that at least one side has not ended.
type openStream struct {
	kind               string
	taken              bool // somebody reads it
	byClient, byServer bool // who has ended
}

// addFrames puts frames between the library and what carries them. The header is
// that of the response.
func (v *session) addFrames(p *peer, carrier io.ReadWriteCloser, header http.Header) *frames {
	f := &frames{peer: p, carrier: carrier, changed: make(chan struct{}), next: 1, streams: map[spdy.StreamId]*openStream{}}
	// The errors would be about the level of compression, which is a constant.
	f.in, _ = spdy.NewFramerWithOptions(nil, bufio.NewReader(carrier), spdy.WithMaxControlFramePayloadSize(maxControlFrame),
		spdy.WithMaxHeaderFieldSize(maxHeaderField), spdy.WithMaxHeaderCount(maxHeaders))
	f.out, _ = spdy.NewFramer(&f.passed, nil)
	if r, joins := v.request.(joinRequest); joins {
		f.joins = true
		f.wanted = streamTypes(r, header.Get(httpstream.HeaderProtocolVersion))
	}
	v.mu.Lock()
	v.frames = f
	v.mu.Unlock()
	return f
}

// Read gives the library what may pass.
func (f *frames) Read(b []byte) (int, error) {
	for f.passed.Len() == 0 {
		// Not even the end may come before the answer.
		if err := f.await(context.WithoutCancel(f.session.ctx), func() bool { return !f.waiting }); err != nil {
			return 0, err
		}
		if f.ended == nil {
			if f.ended = f.pass(); f.ended != nil {
				f.session.end(f.ended)
			}
			continue
		}
		if f.openMissing() {
			continue
		}
		if f.joins { // the library writes nothing once it has learnt of the end
			<-f.closed
		}
		return 0, f.ended
	}
	return f.passed.Read(b)
}

// pass takes a frame from the client and passes it on if it means anything here.
func (f *frames) pass() error {
	frame, err := f.in.ReadFrame()
	if errors.Is(err, io.EOF) {
		return errGone // a WebSocket ends before its connection
	}
	if err != nil {
		return fmt.Errorf("read a frame: %w", err)
	}
	switch frame := frame.(type) {
	case *spdy.SynStreamFrame:
		if !f.joins && !forwardable(frame.Headers) {
			return f.refuse(frame.StreamId)
		}
		return f.open(frame)
	case *spdy.DataFrame:
		return f.data(frame)
	case *spdy.RstStreamFrame:
		if f.forget(frame.StreamId) {
			return f.out.WriteFrame(frame)
		}
	case *spdy.PingFrame:
		return f.out.WriteFrame(frame)
	case *spdy.GoAwayFrame:
		return errGone // clients send it when they close; the library would read no more
	}
	return nil
}

// Close ends what carries the frames, and the peer with it. It has no error:
// spdystream would wait a second for somebody to ask for it.
func (f *frames) Close() error {
	_ = f.carrier.Close()
	return nil
}

// open passes on a new stream.
func (f *frames) open(frame *spdy.SynStreamFrame) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, kind := frame.StreamId, frame.Headers.Get(remotecommand.StreamType)
	at := slices.Index(f.wanted, kind)
	switch {
	case id%2 == 0 || id < f.next || id > maxStreamID:
		return fmt.Errorf("the client opens stream %d, and %d would be next", id, f.next)
	case f.joins && at < 0:
		return fmt.Errorf("the client opens a stream of type %q, which was not asked for or is open already", kind)
	case len(f.streams) >= maxStreams:
		return fmt.Errorf("the client opens more than %d streams", maxStreams)
	}
	if f.joins {
		f.wanted = slices.Delete(f.wanted, at, at+1)
	}
	frame.CFHeader.Flags &= spdy.ControlFlagFin
	frame.AssociatedToStreamId = 0
	f.streams[id] = &openStream{kind: kind, byClient: frame.CFHeader.Flags != 0}
	f.next = id + 2
	f.waiting = true
	return f.out.WriteFrame(frame)
}

// forwardable checks what the library would: it resets a stream that it does
// not like without an answer, and one that it does like perhaps before it.
func forwardable(header http.Header) bool {
	port, err := strconv.ParseUint(header.Get(portforward.PortHeader), 10, 16)
	kind := header.Get(portforward.StreamType)
	return err == nil && port > 0 && (kind == portforward.StreamTypeError || kind == portforward.StreamTypeData)
}

// refuse resets a stream that the library does not get to know.
func (f *frames) refuse(id spdy.StreamId) error {
	var reset bytes.Buffer // written at once, between the library's frames
	framer, err := spdy.NewFramer(&reset, nil)
	if err == nil {
		err = framer.WriteFrame(&spdy.RstStreamFrame{StreamId: id, Status: spdy.RefusedStream})
	}
	if err == nil {
		_, err = f.carrier.Write(reset.Bytes())
	}
	return err
}

// openMissing makes up a stream that the library waits for, and reports whether
// there was one.
func (f *frames) openMissing() bool {
	f.mu.Lock()
	if len(f.wanted) == 0 {
		f.mu.Unlock()
		return false
	}
	frame := &spdy.SynStreamFrame{StreamId: f.next, Headers: http.Header{}}
	frame.Headers.Set(remotecommand.StreamType, f.wanted[0])
	f.mu.Unlock()
	return f.open(frame) == nil
}

// data passes on what somebody reads, and that a stream has ended.
func (f *frames) data(frame *spdy.DataFrame) error {
	id, data := frame.StreamId, frame.Data
	f.mu.Lock()
	s := f.streams[id]
	f.mu.Unlock()
	if s == nil || s.byClient {
		return nil // it has been reset, or never was
	}
	switch s.kind {
	case remotecommand.StreamTypeError, remotecommand.StreamTypeStdout, remotecommand.StreamTypeStderr:
		data = nil
	case remotecommand.StreamTypeResize:
		if f.sizes += len(data); f.sizes > maxResize {
			return errors.New("the client resizes its terminal without end")
		}
	}
	if len(data) > 0 {
		ctx, cancel := context.WithTimeoutCause(f.session.ctx, f.session.server.config.CreationTimeout,
			fmt.Errorf("the client sends to stream %d, whose other streams are missing", id))
		defer cancel()
		if err := f.await(ctx, func() bool { return s.taken || f.streams[id] != s }); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(data, maxData) {
		if err := f.out.WriteFrame(&spdy.DataFrame{StreamId: id, Data: part}); err != nil {
			return err
		}
	}
	if frame.Flags&spdy.DataFlagFin == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.byClient = true
	f.forgetEnded(id)
	return f.out.WriteFrame(&spdy.DataFrame{StreamId: id, Flags: spdy.DataFlagFin})
}

// await waits until ok, which is called with f.mu held.
func (f *frames) await(ctx context.Context, ok func() bool) error {
	for {
		f.mu.Lock()
		done, changed := ok(), f.changed
		f.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-f.closed:
			return net.ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
