// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"time"
)

const (
	// foreignMark goes before a line that is not Docker's. Such a line keeps its
	// bytes, appears on stderr, and has the time of the entry before it.
	foreignMark = "dockershimd: not a line of Docker's log: "
	// lossMark is a line of its own where lines are missing.
	lossMark = "dockershimd: lines may be missing here: Docker's log went on for longer than it is kept, or was cut, before it was carried over"
)

// Tags of the CRI log format: a whole line or the last part of one, and a part
// with more to come.
const (
	full    = 'F'
	partial = 'P'
)

// encoder turns lines of a json-file into lines of a CRI log. The same lines
// give the same bytes, provided that last is the same at their beginning.
type encoder struct {
	parser parser
	// last is the time of the last entry.
	last []byte
	// foreign counts the lines that were not Docker's.
	foreign int64
}

// line appends a line, which is given without its newline.
func (e *encoder) line(dst, line []byte) []byte {
	if entry, ok := e.parser.parse(line); ok {
		return e.entry(dst, entry)
	}
	// Where Docker was killed in the middle of a line, the next one follows on it.
	// A file cut short under Docker begins with a hole, which reads as zeros.
	line = bytes.TrimLeft(line, "\x00")
	begin := bytes.LastIndex(line, []byte(`{"log":"`))
	if begin < 0 {
		begin = len(line)
	}
	entry, ok := e.parser.parse(line[begin:])
	if !ok {
		begin = len(line)
	}
	if begin > 0 {
		dst = e.marked(dst, line[:begin])
	}
	if ok {
		dst = e.entry(dst, entry)
	}
	return dst
}

// entry appends an entry. Docker ends one at a newline; one of somebody else's
// may contain several, each of which ends a line of the CRI log.
func (e *encoder) entry(dst []byte, entry entry) []byte {
	e.last = append(e.last[:0], entry.time...)
	text := entry.text
	for {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		tag := byte(partial)
		if whole {
			tag = full
		}
		dst = appendLine(dst, entry.time, entry.stream, tag, line)
		if text = rest; len(text) == 0 {
			return dst
		}
	}
}

// time is that of the last entry or, where there was none, now.
func (e *encoder) time() []byte {
	if len(e.last) == 0 {
		e.last = time.Now().UTC().AppendFormat(nil, time.RFC3339Nano)
	}
	return e.last
}

// partSize is that of Docker's parts. Readers of logs have limits: fluent-bit
// gives a file up for a line that is longer than 32 KiB.
const partSize = 16 << 10

// marked appends a line that is not Docker's, in parts if it is long.
func (e *encoder) marked(dst, line []byte) []byte {
	e.foreign++
	mark := []byte(foreignMark)
	for len(line) > partSize {
		dst = appendLine(dst, e.time(), "stderr", partial, mark, line[:partSize])
		line, mark = line[partSize:], nil
	}
	return appendLine(dst, e.time(), "stderr", full, mark, line)
}

// appendLine appends a line in the format of
// https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
func appendLine(dst, time []byte, stream string, tag byte, text ...[]byte) []byte {
	dst = append(dst, time...)
	dst = append(dst, ' ')
	dst = append(dst, stream...)
	dst = append(dst, ' ', tag, ' ')
	for _, t := range text {
		dst = append(dst, t...)
	}
	return append(dst, '\n')
}
