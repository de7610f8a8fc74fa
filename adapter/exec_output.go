// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bytes"
	"io"
	"strings"

	"github.com/dockershimd/dockershimd/translate"
)

// answerRoom is how much output fits into an answer: kubelets refuse messages
// of more than 16 MiB (k8s.io/cri-client, maxMsgSize), and the rest of the
// answer takes a little.
const answerRoom = 16<<20 - 1<<10

// cutMark ends an output that did not fit.
const cutMark = "\n[dockershimd: cut here, an answer holds 16 MiB]\n"

// captured keeps what is written, as long as there is room; the rest is taken
// and dropped, so that the command is not held up.
type captured struct {
	buffer bytes.Buffer
	room   *int // left for all outputs of the command
	cut    bool
}

func (c *captured) Write(p []byte) (int, error) {
	keep := min(len(p), *c.room)
	c.buffer.Write(p[:keep])
	*c.room -= keep
	c.cut = c.cut || keep < len(p)
	return len(p), nil
}

func (c *captured) bytes() []byte {
	if c.cut {
		c.buffer.WriteString(cutMark)
	}
	return c.buffer.Bytes()
}

// engineWord writes output on, but for what may be the engine's word that it
// could not start the command: whether it is, is known only in the end.
type engineWord struct {
	to     io.Writer
	kept   bytes.Buffer
	passed bool // it is output
}

// wordRoom is more than the engine's word is long. It names the command, which
// may be a path.
const wordRoom = 16 << 10

func (w *engineWord) Write(p []byte) (int, error) {
	if w.passed {
		return w.to.Write(p)
	}
	w.kept.Write(p)
	if w.kept.Len() < wordRoom && mayBegin(w.kept.Bytes(), translate.StartFailureMark) {
		return len(p), nil
	}
	return len(p), w.release()
}

// mayBegin tells whether text begins with the mark, or is a beginning of it.
func mayBegin(text []byte, mark string) bool {
	return strings.HasPrefix(mark, string(text[:min(len(text), len(mark))]))
}

// release writes on what was kept back, and what comes.
func (w *engineWord) release() error {
	w.passed = true
	_, err := w.kept.WriteTo(w.to)
	return err
}

func (w *engineWord) held() string { return w.kept.String() }
