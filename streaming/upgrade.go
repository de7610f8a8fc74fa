// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// upgrade is a response whose connection comes as a peer. It has no Unwrap,
// which the libraries would use to go around it.
type upgrade struct {
	http.ResponseWriter
	session *session
	spdy    bool
}

// Hijack hands out the connection. The reader is new, as the one of net/http
// reads past the peer; what that had read already comes first.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // as much as is there cannot fail
	p, err := newPeer(u.session, conn, bytes.Clone(early))
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	conn = p
	if u.spdy {
		f := u.session.addFrames(p, p, u.Header()) // also one write for each frame
		p.nothing = f.nothing
		conn = f
	}
	u.session.start(p)
	// A frame of a WebSocket has room in the buffer, so that it is written at once.
	return conn, bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriterSize(conn, 2*chunk)), nil
}

// start lets a session know its peer. A session that has ended meanwhile ends
// its peer, too.
func (v *session) start(p *peer) {
	v.mu.Lock()
	v.peer = p
	v.mu.Unlock()
	v.work.Go(p.watch)
	if v.ctx.Err() != nil {
		p.hangUp()
	}
}

func newPeer(v *session, conn net.Conn, early []byte) (*peer, error) {
	p := &peer{Conn: conn, session: v, begin: time.Now(), closed: make(chan struct{})}
	p.nothing = func() []byte { return []byte{0x8a, 0} } // a pong that answers no ping
	p.in = io.MultiReader(bytes.NewReader(early), conn)
	inner := conn
	if t, is := conn.(*tls.Conn); is {
		inner = t.NetConn()
	}
	var is bool
	if p.tcp, is = inner.(*net.TCPConn); !is {
		return nil, fmt.Errorf("upgrade a connection of type %T", inner)
	}
	return p, nil
}
