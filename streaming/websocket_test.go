// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// dialWebSocket opens a session by WebSocket.
func dialWebSocket(t testing.TB, rawURL string, protocols ...string) *websocket.Conn {
	t.Helper()
	config, err := websocket.NewConfig(strings.Replace(rawURL, "http", "ws", 1), "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = protocols
	conn, err := config.DialContext(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// channels is the protocol that is spoken in a WebSocket.
type channels struct {
	t      testing.TB
	ws     *websocket.Conn
	base64 bool
}

func (c *channels) send(channel int, text string) {
	c.t.Helper()
	var err error
	if c.base64 {
		err = websocket.Message.Send(c.ws, fmt.Sprint(channel)+base64.StdEncoding.EncodeToString([]byte(text)))
	} else {
		err = websocket.Message.Send(c.ws, append([]byte{byte(channel)}, text...))
	}
	if err != nil {
		c.t.Error(err)
	}
}

// receive reads to the end what comes on each channel.
func (c *channels) receive() map[int]string {
	c.t.Helper()
	got := map[int]string{}
	for {
		channel, text, err := c.next()
		if err != nil {
			if err != io.EOF {
				c.t.Error(err)
			}
			return got
		}
		got[channel] += text
	}
}

func (c *channels) next() (int, string, error) {
	var message []byte
	if err := websocket.Message.Receive(c.ws, &message); err != nil {
		return 0, "", err
	}
	channel, data := int(message[0]), message[1:]
	if c.base64 {
		channel -= '0'
		var err error
		if data, err = base64.StdEncoding.DecodeString(string(data)); err != nil {
			return 0, "", err
		}
	}
	return channel, string(data), nil
}
