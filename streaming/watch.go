// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// watch ends the session when the client is gone without anybody reading: the
// libraries do not read while nobody takes what they have.
func (p *peer) watch() {
	ticker := time.NewTicker(p.session.server.watch)
	defer ticker.Stop()
	for {
		select {
		case <-p.session.ctx.Done():
			return
		case <-ticker.C:
		}
		if err := p.problem(); err != nil {
			p.session.end(err)
		}
	}
}

func (p *peer) problem() error {
	config := p.session.server.config
	now := time.Since(p.begin)
	info, err := p.info()
	switch {
	case err != nil || info.State != unix.BPF_TCP_ESTABLISHED:
		// No protocol here closes one half of its TCP connection and goes on.
		return errGone
	case now-time.Duration(p.moved.Load()) > config.IdleTimeout:
		return fmt.Errorf("nothing has moved for %s", config.IdleTimeout)
	case now > config.CreationTimeout && p.session.missing():
		return fmt.Errorf("the client has not opened its streams within %s", config.CreationTimeout)
	}
	p.probe(info)
	return nil
}

func (p *peer) info() (info *unix.TCPInfo, err error) {
	raw, err := p.tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return info, errors.Join(controlErr, err)
}

// probe sends a client something whose input nobody reads. The end of a
// connection is behind the input: with the buffers full it does not arrive, and
// only an answer to data shows that nobody is there any more.
func (p *peer) probe(info *unix.TCPInfo) {
	if !p.reading.TryLock() {
		return
	}
	p.reading.Unlock()
	frame := p.nothing()
	p.mu.Lock()
	defer p.mu.Unlock()
	// Data that waits for its answer does as well. Without any there is room, and
	// the write does not wait.
	if len(frame) == 0 || !p.spoken || p.writing > 0 || p.farewell || p.broken != nil || info.Unacked > 0 || info.Notsent_bytes > 0 {
		return
	}
	_ = p.Conn.SetWriteDeadline(time.Now().Add(goodbyeTime))
	_, _ = p.Conn.Write(frame) // the next look shows
}
