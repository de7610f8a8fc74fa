// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// Backend does what a client has come for.
//
// Streams that the request does not ask for are nil; resize is nil unless it
// asks for a terminal, and skips sizes that a newer one has overtaken. ctx ends,
// with a cause that says why, when the client is gone and when the server stops;
// from then on reads and writes of the streams return that cause, so that lost
// input does not look like its end. An io.EOF from stdin is an end that the
// client meant. A read that waits returns when ctx ends, and also after the
// method has returned or has closed stdin.
// Writes are kept back as long as the client does not read.
type Backend interface {
	// StreamExec runs r.Cmd in a container; exitCode is only valid if err is nil.
	StreamExec(ctx context.Context, r *cri.ExecRequest, stdin io.ReadCloser, stdout, stderr io.Writer, resize <-chan remotecommand.TerminalSize) (exitCode int, err error)
	// StreamAttach joins a client to a container's streams until the container ends.
	StreamAttach(ctx context.Context, r *cri.AttachRequest, stdin io.ReadCloser, stdout, stderr io.Writer, resize <-chan remotecommand.TerminalSize) error
	// StreamPort carries one connection to a port of a pod until both sides have
	// ended. Close of stream ends only its writing half where the protocol knows
	// halves, which SPDY does, in a WebSocket as well; on a WebSocket of version 4
	// it ends the reading half too. It is called for many connections at once. An
	// error is told to the client.
	StreamPort(ctx context.Context, sandboxID string, port uint16, stream io.ReadWriteCloser) error
}
