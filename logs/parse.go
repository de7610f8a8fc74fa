// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// entry is one line of a json-file: a line that the container wrote, or a part
// of one that is longer than Docker's 16 KiB.
type entry struct {
	// time is in RFC 3339 with nanoseconds, as Docker wrote it.
	time []byte
	// stream is stdout or stderr.
	stream string
	// text ends with a newline unless it is a part that is not the last.
	text []byte
}

// parser reads the lines of json-files. Its zero value is ready. An entry is
// good until the next one is parsed.
type parser struct{ text []byte }

// parse reads a line, without its newline, as Docker's jsonlog package writes
// it. What encoding/json would accept is accepted too, but takes longer. It
// reports false for anything else: a torn line, or one that is not Docker's.
func (p *parser) parse(line []byte) (entry, bool) {
	if e, ok := p.plain(line); ok {
		return e, true
	}
	return other(line)
}

// plain reads {"log":"…","stream":"…","time":"…"}, in this order and without
// spaces. At 220,000 lines a second, which is what Docker can write, reflection
// would cost a processor of its own.
func (p *parser) plain(line []byte) (e entry, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"log":"`))
	if !ok {
		return e, false
	}
	if p.text, rest, ok = unquoted(p.text[:0], rest); !ok {
		return e, false
	}
	e.text = p.text
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"stream":"std`)); !ok || len(rest) < 4 {
		return e, false
	}
	switch string(rest[:4]) {
	case `out"`:
		e.stream = "stdout"
	case `err"`:
		e.stream = "stderr"
	default:
		return e, false
	}
	if rest, ok = bytes.CutPrefix(rest[4:], []byte(`,"time":"`)); !ok {
		return e, false
	}
	if e.time, ok = bytes.CutSuffix(rest, []byte(`"}`)); !ok {
		return e, false
	}
	return e, validTime(e.time)
}

// other reads what is no plain entry, such as one with attributes, which the
// engine adds where its options labels, env or tag ask for them.
func other(line []byte) (e entry, ok bool) {
	var object struct{ Log, Stream, Time string }
	if json.Unmarshal(line, &object) != nil || object.Stream != "stdout" && object.Stream != "stderr" {
		return e, false
	}
	e = entry{[]byte(object.Time), object.Stream, []byte(object.Log)}
	return e, validTime(e.time)
}

// validTime: readers of CRI logs give up on times that are not RFC 3339.
func validTime(text []byte) bool { return new(time.Time).UnmarshalText(text) == nil }

// plainByte are the bytes that stand for themselves in a JSON string. Others
// end it, begin an escape, or must not be there.
var plainByte = func() (plain [256]bool) {
	for b := range plain {
		plain[b] = b >= ' ' && b != '"' && b != '\\'
	}
	return plain
}()

// unquoted appends a JSON string whose opening quote has been read, and returns
// what follows the closing one. Bytes that are no UTF-8 are kept.
func unquoted(dst, s []byte) (out, rest []byte, ok bool) {
	for {
		n := 0
		for n < len(s) && plainByte[s[n]] {
			n++
		}
		dst = append(dst, s[:n]...)
		if s = s[n:]; len(s) == 0 {
			return dst, nil, false
		}
		switch s[0] {
		case '"':
			return dst, s[1:], true
		case '\\':
			if dst, s, ok = escaped(dst, s); !ok {
				return dst, nil, false
			}
		default:
			return dst, nil, false
		}
	}
}

// shortEscapes are what may follow a backslash, but for u.
var shortEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escaped appends what an escape at the beginning of s stands for, and returns
// what follows. Half a surrogate pair becomes U+FFFD, as in encoding/json.
func escaped(dst, s []byte) (out, rest []byte, ok bool) {
	if len(s) < 2 {
		return dst, nil, false
	}
	if b := shortEscapes[s[1]]; b != 0 {
		return append(dst, b), s[2:], true
	}
	r, ok := codeUnit(s)
	if !ok {
		return dst, nil, false
	}
	s = s[6:]
	if utf16.IsSurrogate(r) {
		low, _ := codeUnit(s)
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			s = s[6:]
		}
	}
	return utf8.AppendRune(dst, r), s, true
}

// codeUnit reads \uXXXX.
func codeUnit(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, b := range s[2:6] {
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b >= 'a' && b <= 'f':
			b -= 'a' - 10
		case b >= 'A' && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	return r, true
}
