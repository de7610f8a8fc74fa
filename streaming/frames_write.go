// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"encoding/binary"

	"github.com/moby/spdystream/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// Write takes a frame in the pieces that the library writes, and sends it whole.
func (f *frames) Write(b []byte) (int, error) {
	f.unsent = append(f.unsent, b...)
	if len(f.unsent) < 8 || len(f.unsent) < 8+int(binary.BigEndian.Uint32(f.unsent[4:])&0xffffff) {
		return len(b), nil
	}
	f.note(f.unsent)
	_, _ = f.carrier.Write(f.unsent) // an error has ended the session
	f.unsent = f.unsent[:0]
	return len(b), nil
}

// nothing is an empty data frame. A ping would be answered, and the client's
// answer would wait behind its input.
func (f *frames) nothing() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, s := range f.streams {
		if !s.byServer {
			return binary.BigEndian.AppendUint64(nil, uint64(id)<<32)
		}
	}
	return nil
}

// note looks for answers and ends in a frame of the library's.
func (f *frames) note(frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := binary.BigEndian.Uint32(frame)
	if first&(1<<31) == 0 { // data
		id := spdy.StreamId(first)
		if s := f.streams[id]; s != nil && frame[4]&byte(spdy.DataFlagFin) != 0 {
			s.byServer = true
			f.forgetEnded(id)
		}
		return
	}
	switch spdy.ControlFrameType(first & 0xffff) {
	case spdy.TypeSynReply: // to the only one that has none
		f.waiting = false
		f.change()
	case spdy.TypeRstStream:
		delete(f.streams, spdy.StreamId(binary.BigEndian.Uint32(frame[8:])))
		f.change()
	}
}

// forget reports whether there was such a stream.
func (f *frames) forget(id spdy.StreamId) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, found := f.streams[id]
	delete(f.streams, id)
	return found
}

// forgetEnded forgets a stream that both sides have ended. f.mu is held.
func (f *frames) forgetEnded(id spdy.StreamId) {
	if s := f.streams[id]; s != nil && s.byClient && s.byServer {
		delete(f.streams, id)
	}
}

// change wakes await. f.mu is held.
func (f *frames) change() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// missing reports whether the library still waits for streams.
func (v *session) missing() bool {
	v.mu.Lock()
	f := v.frames
	v.mu.Unlock()
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.joins && (len(f.wanted) > 0 || f.waiting)
}

// take lets data through to a stream that is read from now on, nil for all. It
// returns when the stream has been answered: the libraries hand streams out
// before that, and an error in between would reset what the client does not have
// yet, so that it would not see the error.
func (v *session) take(stream any) {
	v.mu.Lock()
	f := v.frames
	v.mu.Unlock()
	if f == nil {
		return // a WebSocket's channels have readers of their own
	}
	one, _ := stream.(httpstream.Stream)
	f.mu.Lock()
	for id, s := range f.streams {
		if one == nil || id == spdy.StreamId(one.Identifier()) {
			s.taken = true
		}
	}
	f.change()
	f.mu.Unlock()
	_ = f.await(v.ctx, func() bool { return !f.waiting }) // the end of ctx is for the backend to see
}
