// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"strings"
	"testing"
	"time"
)

func TestEncode(t *testing.T) {
	const before = "2026-01-02T11:00:00Z"
	entry := func(text string) string {
		return `{"log":"` + text + `","stream":"stdout","time":"` + noon + `"}`
	}
	mark := before + " stderr F " + foreignMark
	for _, test := range []struct{ line, want string }{
		{entry(`hello\n`), noon + " stdout F hello\n"},
		{entry(`\n`), noon + " stdout F \n"},
		{entry(`part`), noon + " stdout P part\n"},
		{entry(`terminal\r\n`), noon + " stdout F terminal\r\n"},
		{entry(`a\nb\n\nc`), noon + " stdout F a\n" + noon + " stdout F b\n" + noon + " stdout F \n" + noon + " stdout P c\n"},
		{strings.Replace(entry(`e\n`), "stdout", "stderr", 1), noon + " stderr F e\n"},

		{"", ""},
		{"\x00\x00\x00", ""},
		{"not json", mark + "not json\n"},
		{"bytes \xff\x00", mark + "bytes \xff\x00\n"},
		{`{"log":"torn`, mark + `{"log":"torn` + "\n"},
		{`{"log":"torn` + entry(`next\n`), mark + `{"log":"torn` + "\n" + noon + " stdout F next\n"},
		{entry(`torn\n`)[:40] + entry(`next\n`), mark + entry(`torn\n`)[:40] + "\n" + noon + " stdout F next\n"},
		{"\x00\x00" + entry(`after a hole\n`), noon + " stdout F after a hole\n"},
		{"\x00\x00torn", mark + "torn\n"},
		{entry(`a\n`) + `{"log":"torn`, mark + entry(`a\n`) + `{"log":"torn` + "\n"},
	} {
		e := encoder{last: []byte(before)}
		if got := string(e.line(nil, []byte(test.line))); got != test.want {
			t.Errorf("%q:\ngot  %q\nwant %q", test.line, got, test.want)
		}
	}
}

// Readers of logs have limits.
func TestEncodeSplitsForeignLines(t *testing.T) {
	e := encoder{last: []byte(noon)}
	line := strings.Repeat("0123456789abcdef", partSize/16)
	got := string(e.line(nil, []byte(line+line+"end")))
	begin := noon + " stderr "
	want := begin + "P " + foreignMark + line + "\n" + begin + "P " + line + "\n" + begin + "F end\n"
	wantText(t, got, want)
	if e.foreign != 1 {
		t.Errorf("%d foreign lines", e.foreign)
	}
}

func TestEncodeTime(t *testing.T) {
	var e encoder
	e.line(nil, []byte("foreign"))
	if at, err := time.Parse(time.RFC3339Nano, string(e.last)); err != nil || time.Since(at) > time.Minute {
		t.Errorf("time %q of a foreign line before any entry: %v", e.last, err)
	}
	e.line(nil, []byte(`{"log":"a\n","stream":"stdout","time":"`+noon+`"}`))
	if got := string(e.line(nil, []byte("foreign"))); !strings.HasPrefix(got, noon+" ") {
		t.Errorf("%q has not the time of the entry before", got)
	}
}
