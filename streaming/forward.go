// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxForwards bounds the connections of one port-forward session: each holds a
// file of the daemon's and one in the pod.
const maxForwards = 1000

// PortForward is what ServePortForward calls for each connection, in a goroutine
// that may outlive it and with a context that nothing ends.
func (v *session) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) (err error) {
	v.take(stream)
	if err := v.beginForward(); err != nil {
		return err // also if the client is gone: the library resets the stream then
	}
	defer v.endForward()
	c := &connection{input{session: v, from: stream}, output{v.ctx, stream}, stream}
	defer v.onEnd(c.input.stop)()
	defer func() {
		if err = v.tell(err); err == nil {
			c.finish()
		}
	}()
	defer v.recovered(&err)
	return v.backend.StreamPort(v.ctx, v.request.(*cri.PortForwardRequest).GetPodSandboxId(), uint16(port), c)
}

func (v *session) beginForward() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.ctx.Err() != nil:
		return context.Cause(v.ctx)
	case v.over:
		return errOver
	case v.forwards >= maxForwards:
		return fmt.Errorf("%d connections are open, which is as many as one port-forward may have; close some or start another: %w", v.forwards, errdefs.ErrResourceExhausted)
	}
	v.forwards++
	v.ports++
	v.work.Add(1)
	return nil
}

func (v *session) endForward() {
	v.mu.Lock()
	v.forwards--
	// A WebSocket of version 4 has one connection for each port, and ends with the last.
	last := !v.halves && v.forwards == 0 && v.ports == len(v.request.(*cri.PortForwardRequest).GetPort())
	v.mu.Unlock()
	if last {
		v.sayGoodbye()
	}
	v.work.Done()
}

// connection is one of a port-forward.
type connection struct {
	input
	output
	stream io.ReadWriteCloser
}

// Close ends the half for writing. Where there are no halves it ends both: the
// client has no other way to learn of it.
func (c *connection) Close() error {
	if !c.session.halves {
		c.closed.Store(true)
	}
	return c.stream.Close()
}

// finish ends a connection that the backend is done with. What the client still
// sends is dropped: left alone it would hold up other connections, several of
// which share a queue. Everything written before still arrives.
func (c *connection) finish() {
	_ = c.stream.Close()
	c.input.stop()
}
