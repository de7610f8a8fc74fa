// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// goodbyeTime is how long a client may take to read what is left to be said.
	goodbyeTime = 30 * time.Second
	// lingerTime is how long a client may take to close its side after ours.
	lingerTime = 5 * time.Second
)

// past is a deadline that makes what waits return.
var past = time.Unix(1, 0)

// peer is the connection to a client after the upgrade, when net/http looks
// after it no more. It ends the session when the client is gone, idle or does
// not read, and is closed in a way that lets the last words arrive.
type peer struct {
	net.Conn // TLS, perhaps
	tcp      *net.TCPConn
	in       io.Reader // Conn, after what net/http had read
	session  *session
	begin    time.Time
	moved    atomic.Int64 // when bytes last went either way, since begin

	reading sync.Mutex    // held by the one who reads
	closed  chan struct{} // when the library is done with it
	nothing func() []byte // a frame that means nothing to the client

	mu       sync.Mutex
	writing  int       // calls
	deadline time.Time // of the last write
	spoken   bool      // something has been written: the response, with a WebSocket
	shut     bool      // closed is
	farewell bool      // writes have a deadline that stays
	broken   error     // of the first write that failed
}

// Read ends the session when it fails. The libraries close the connection of a
// WebSocket when they learn of that, so they learn only when all has been said.
func (p *peer) Read(b []byte) (int, error) {
	n, err := p.read(b)
	if err != nil {
		p.session.end(errGone)
		if !p.session.halves {
			<-p.closed
		}
	}
	return n, err
}

func (p *peer) read(b []byte) (int, error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	if cause := context.Cause(p.session.ctx); cause != nil {
		return 0, cause
	}
	n, err := p.in.Read(b)
	p.move(n)
	return n, err
}

func (p *peer) Write(b []byte) (int, error) {
	if err := p.beforeWrite(); err != nil {
		return 0, err
	}
	n, err := p.Conn.Write(b)
	p.move(n)
	cause := err
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		cause = errors.New("the client does not read")
	case err != nil:
		cause = errGone
	}
	p.mu.Lock()
	p.writing--
	p.spoken = true
	p.broken = cause
	p.mu.Unlock()
	if err != nil {
		p.session.end(cause)
	}
	return n, err
}

// beforeWrite sets the deadline. What follows a frame that was written in part
// makes no sense to anybody, and must not wait for another deadline.
func (p *peer) beforeWrite() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	if !p.farewell {
		p.deadline = time.Now().Add(p.session.server.config.IdleTimeout)
		_ = p.Conn.SetWriteDeadline(p.deadline)
	}
	p.writing++
	return nil
}

func (p *peer) move(n int) {
	if n > 0 {
		p.moved.Store(int64(time.Since(p.begin)))
	}
}

// Deadlines are not the libraries' to set: those of x/net/websocket are for both
// directions at once.

func (p *peer) SetDeadline(time.Time) error      { return nil }
func (p *peer) SetReadDeadline(time.Time) error  { return nil }
func (p *peer) SetWriteDeadline(time.Time) error { return nil }

// sayGoodbye gives what is still to be written, and what waits already, a short
// time: the libraries write closing frames, and hold locks while they do.
func (v *session) sayGoodbye() {
	if p := v.upgraded(); p != nil {
		p.sayGoodbye()
	}
}

func (p *peer) sayGoodbye() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.farewell {
		return
	}
	p.farewell = true
	limit := time.Now().Add(goodbyeTime)
	if p.writing > 0 && p.deadline.Before(limit) {
		return // what waits already gets no more time than it had
	}
	_ = p.Conn.SetWriteDeadline(limit)
}

// hangUp ends reading, and writing after a last word. The session's context has
// ended before.
func (p *peer) hangUp() {
	p.sayGoodbye()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shut { // linger has a deadline of its own
		_ = p.tcp.SetReadDeadline(past)
	}
}

// Close ends the session, and the connection some time after it.
func (p *peer) Close() error {
	p.session.end(errGone)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shut {
		p.shut = true
		close(p.closed)
		p.session.work.Go(p.linger)
	}
	return nil
}

// linger closes our side, and the connection when the client has closed its own.
// A close while there is input that nobody has read would be a reset, which
// overtakes the exit status on its way.
func (p *peer) linger() {
	defer p.tcp.Close()
	limit := time.Now().Add(p.session.server.linger)
	_ = p.Conn.SetWriteDeadline(limit)
	if t, is := p.Conn.(*tls.Conn); is {
		_ = t.CloseWrite()
	}
	_ = p.tcp.CloseWrite()
	p.reading.Lock()
	defer p.reading.Unlock()
	_ = p.tcp.SetReadDeadline(limit)
	_, _ = io.Copy(io.Discard, p.tcp)
}

// cut closes the connection at once. The session notices as if the client had.
func (p *peer) cut() { p.tcp.Close() }
