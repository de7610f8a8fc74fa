// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const noon = "2026-01-02T12:00:00.000000001Z"

func TestParse(t *testing.T) {
	for _, test := range []struct{ line, stream, text string }{
		{`{"log":"hello\n","stream":"stdout","time":"` + noon + `"}`, "stdout", "hello\n"},
		{`{"log":"part","stream":"stderr","time":"` + noon + `"}`, "stderr", "part"},
		{`{"log":"\n","stream":"stdout","time":"` + noon + `"}`, "stdout", "\n"},
		{`{"log":"","stream":"stdout","time":"` + noon + `"}`, "stdout", ""},
		{`{"log":"\"\\\/\b\f\n\r\t\u003c\u003E\u0026\u2028\u0000","stream":"stdout","time":"` + noon + `"}`, "stdout", "\"\\/\b\f\n\r\t<>&\u2028\x00"},
		{`{"log":"\ud83d\ude00","stream":"stdout","time":"` + noon + `"}`, "stdout", "😀"},
		{`{"log":"\ud83dx\ude00\ud83d","stream":"stdout","time":"` + noon + `"}`, "stdout", "\ufffdx\ufffd\ufffd"},
		{`{"log":"\ud83d\u0041","stream":"stdout","time":"` + noon + `"}`, "stdout", "\ufffdA"},
		{`{"log":"Grüße, 世界 😀","stream":"stdout","time":"` + noon + `"}`, "stdout", "Grüße, 世界 😀"},
		{"{\"log\":\"bytes \xff\xfe\",\"stream\":\"stdout\",\"time\":\"" + noon + `"}`, "stdout", "bytes \xff\xfe"},
		{`{"log":"terminal\r\n","stream":"stdout","time":"` + noon + `"}`, "stdout", "terminal\r\n"},
		// With attributes, and in other words.
		{`{"log":"a\n","stream":"stdout","attrs":{"tag":"x"},"time":"` + noon + `"}`, "stdout", "a\n"},
		{` { "time" : "` + noon + `" , "stream" : "stderr", "log" : "a\n" } `, "stderr", "a\n"},
	} {
		var p parser
		e, ok := p.parse([]byte(test.line))
		if !ok || e.stream != test.stream || string(e.text) != test.text || string(e.time) != noon {
			t.Errorf("%s: %q %q %q, %v", test.line, e.time, e.stream, e.text, ok)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	whole := `{"log":"hello\n","stream":"stdout","time":"` + noon + `"}`
	lines := []string{
		"plain text", "{}", "null", "[]", `{"log":"a"}`, "\x00\x00",
		whole + "x", whole + whole, "x" + whole, "\x00" + whole,
		`{"log":"a","stream":"stdin","time":"` + noon + `"}`,
		`{"log":"a","stream":"stdout","time":"yesterday"}`,
		`{"log":"a","stream":"stdout","time":"` + noon + `","time":"x"}`,
		`{"log":"a","stream":"stdout","time":"2026-01-02 12:00:00Z"}`,
		`{"log":"a","stream":"stdout","time":""}`,
		`{"log":"\x","stream":"stdout","time":"` + noon + `"}`,
		`{"log":"\u00g0","stream":"stdout","time":"` + noon + `"}`,
		`{"log":"\u00","stream":"stdout","time":"` + noon + `"}`,
		"{\"log\":\"a\tb\",\"stream\":\"stdout\",\"time\":\"" + noon + `"}`,
	}
	for n := range whole {
		lines = append(lines, whole[:n])
	}
	for _, line := range lines {
		var p parser
		if e, ok := p.parse([]byte(line)); ok {
			t.Errorf("%q is %q %q %q", line, e.time, e.stream, e.text)
		}
	}
}

// FuzzParse compares with encoding/json, both what it reads and what it writes.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"log":"hello\u003c\ud83d\ude00\n","stream":"stdout","time":"` + noon + `"}`))
	f.Add([]byte(`{"log":"\ud83d\u0041\\\"\/","stream":"stderr","time":"2026-01-02T12:00:00+01:00"}`))
	f.Add([]byte("{\"log\":\"\xff\xc3\",\"stream\":\"stderr\",\"time\":\"" + noon + `"}`))
	f.Add([]byte("any \x00\x1f\x7f\xe2\x80\xa8<>& text"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var p parser
		if e, ok := p.plain(line); ok {
			wantSameAsJSON(t, line, e)
		}
		for _, stream := range []string{"stdout", "stderr"} {
			wantOwn(t, stream, string(line))
		}
	})
}

func wantSameAsJSON(t *testing.T, line []byte, e entry) {
	t.Helper()
	var object struct {
		Log, Stream string
		Time        time.Time
	}
	if err := json.Unmarshal(line, &object); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	var at time.Time
	if err := at.UnmarshalText(e.time); err != nil || !at.Equal(object.Time) {
		t.Errorf("%q: time %q, want %v", line, e.time, object.Time)
	}
	// encoding/json puts U+FFFD in the place of each byte that is no UTF-8.
	if string([]rune(string(e.text))) != object.Log || e.stream != object.Stream {
		t.Errorf("%q: %q %q, want %q %q", line, e.stream, e.text, object.Stream, object.Log)
	}
}

// wantOwn wants an entry of this text to be read back, as encoding/json writes it
// and as Docker does.
func wantOwn(t *testing.T, stream, text string) {
	t.Helper()
	at := time.Date(2026, 1, 2, 12, 0, 0, 1, time.UTC)
	line, err := json.Marshal(struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}{text, stream, at})
	if err != nil {
		t.Fatal(err)
	}
	lines := [][]byte{line}
	if text != "" { // which Docker does not log
		lines = append(lines, bytes.TrimSuffix(dockerLine(t, at, stream, text), []byte{'\n'}))
	}
	for _, line := range lines {
		var p parser
		e, ok := p.plain(line)
		if !ok || string(e.text) != string([]rune(text)) || e.stream != stream || string(e.time) != noon {
			t.Errorf("%q: %q %q %q, %v", line, e.time, e.stream, e.text, ok)
		}
	}
}

// benchmarkLines are 64 KiB of what a server may log.
func benchmarkLines(b *testing.B) []byte {
	var spool bytes.Buffer
	for spool.Len() < 64<<10 {
		text := `10.0.0.1 - - "GET /index.html?a=<b>&c=d HTTP/1.1" 200 1043 "-" "curl/8.5.0"` + strings.Repeat(" x", spool.Len()%40) + "\n"
		spool.Write(dockerLine(b, time.Now(), "stdout", text))
	}
	return spool.Bytes()
}

func BenchmarkEncode(b *testing.B) {
	lines := benchmarkLines(b)
	b.SetBytes(int64(len(lines)))
	var e encoder
	var out []byte
	for b.Loop() {
		out = out[:0]
		for line := range bytes.Lines(lines) {
			out = e.line(out, bytes.TrimSuffix(line, []byte{'\n'}))
		}
	}
}

// BenchmarkEncodeByReflection is what it would cost with encoding/json.
func BenchmarkEncodeByReflection(b *testing.B) {
	lines := benchmarkLines(b)
	b.SetBytes(int64(len(lines)))
	var e encoder
	var out []byte
	for b.Loop() {
		out = out[:0]
		for line := range bytes.Lines(lines) {
			entry, _ := other(bytes.TrimSuffix(line, []byte{'\n'}))
			out = e.entry(out, entry)
		}
	}
}
