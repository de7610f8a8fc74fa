// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bufio"
	"net"
	"net/http"
	"strings"

	"golang.org/x/net/websocket"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// ownProtocol is the protocol that a client is to speak in its WebSocket with
// this package and not with the libraries, which know nothing newer than version
// 4. It is empty if the client does not offer the one of that door.
func ownProtocol(door string, r *http.Request) string {
	own := remotecommand.StreamProtocolV5Name
	if door == doorPortForward {
		own = portforward.WebsocketsSPDYTunnelingPortForwardV1
	}
	if wsstream.IsWebSocketRequest(r) {
		for offered := range strings.SplitSeq(r.Header.Get(wsstream.WebSocketProtocolHeader), ",") {
			if strings.TrimSpace(offered) == own {
				return own
			}
		}
	}
	return ""
}

// serveWebSocket speaks the session's own protocol. Any origin will do, as with
// the libraries: it is the token that opens a door.
func (v *session) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	websocket.Server{
		Handshake: func(c *websocket.Config, _ *http.Request) error {
			c.Protocol = []string{v.protocol}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			ws.PayloadType = websocket.BinaryFrame
			switch request := v.request.(type) {
			case joinRequest:
				v.serveChannels(ws, request)
			case *cri.PortForwardRequest:
				// What comes out of the tunnel is served as if it had come without one.
				r := r.Clone(v.ctx)
				r.Method = http.MethodPost
				r.Header = http.Header{}
				r.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
				r.Header.Set(httpstream.HeaderUpgrade, spdy.HeaderSpdy31)
				r.Header.Set(httpstream.HeaderProtocolVersion, portforward.ProtocolV1Name)
				v.servePorts(&tunnel{ws: ws, session: v, header: http.Header{}}, r, request)
			}
		},
	}.ServeHTTP(w, r)
}

// tunnel is the response to the request for SPDY within a WebSocket. The
// client has had its answer before, so that nothing of this one is sent.
type tunnel struct {
	ws      *websocket.Conn
	session *session
	header  http.Header
}

func (t *tunnel) Header() http.Header         { return t.header }
func (t *tunnel) WriteHeader(int)             {}
func (t *tunnel) Write(b []byte) (int, error) { return len(b), nil }

// Hijack hands out a connection whose bytes are the contents of messages. Where
// one message ends and the next begins means nothing.
func (t *tunnel) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn := t.session.addFrames(t.session.upgraded(), t.ws, t.header)
	return conn, bufio.NewReadWriter(bufio.NewReader(conn), nil), nil
}
