// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// result is what a run of the program left.
type result struct {
	code     int
	out, err string
}

// runProgram lets the program come to its end.
func runProgram(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, &out, &errs)
	return result{code, out.String(), errs.String()}
}

// first is the time of the first entry of a log.
var first = time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)

// stamp is the time of the entry with the number, as it is shown.
func stamp(number int) string {
	return first.Add(time.Duration(number) * time.Second).Format("2006-01-02T15:04:05.000000000Z")
}

// criLog is a log in CRI's format, an entry a second; each is stream, tag and
// text.
func criLog(entries ...string) string {
	var text strings.Builder
	for i, entry := range entries {
		fmt.Fprintf(&text, "%s %s\n", first.Add(time.Duration(i)*time.Second).Format(time.RFC3339Nano), entry)
	}
	return text.String()
}

// file is a file with the text.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	both := criLog("stdout F one", "stderr F two", "stdout F three", "stderr F four", "stdout F five")
	parts := criLog("stdout F before", "stdout P o", "stdout P n", "stdout F e", "stdout F after")
	for name, c := range map[string]struct{ log, args, out, err string }{
		"nothing":             {},
		"all":                 {both, "", "one\nthree\nfive\n", "two\nfour\n"},
		"no last line":        {both, "--tail 0", "", ""},
		"last line":           {both, "--tail 1", "five\n", ""},
		"last lines":          {both, "--tail 4", "three\nfive\n", "two\nfour\n"},
		"more than there is":  {both, "--tail 6", "one\nthree\nfive\n", "two\nfour\n"},
		"stdout":              {both, "--stream Stdout", "one\nthree\nfive\n", ""},
		"stderr":              {both, "--stream Stderr", "", "two\nfour\n"},
		"since":               {both, "--since-time " + stamp(3), "five\n", "four\n"},
		"since between":       {both, "--since-time 2026-01-02T03:04:08Z", "five\n", "four\n"},
		"since the end":       {both, "--since-time " + stamp(5), "", ""},
		"since and last":      {both, "--tail 3 --since-time " + stamp(3), "five\n", "four\n"},
		"timestamps":          {both, "--tail 2 --timestamps", stamp(4) + " five\n", stamp(3) + " four\n"},
		"bytes":               {both, "--limit-bytes 10", "one\nth", "two\n"},
		"bytes of one stream": {both, "--limit-bytes 6 --stream Stderr", "", "two\nfo"},
		"bytes of a stamp":    {both, "--limit-bytes 4 --timestamps", "2026", ""},

		"parts":             {parts, "", "before\none\nafter\n", ""},
		"a stamp for parts": {parts, "--timestamps", stamp(0) + " before\n" + stamp(1) + " one\n" + stamp(4) + " after\n", ""},
		// The parts are what the reader counts and dates.
		"last parts":  {parts, "--tail 3", "ne\nafter\n", ""},
		"since parts": {parts, "--since-time " + stamp(3), "e\nafter\n", ""},

		"a line without end":         {criLog("stdout F one", "stdout P two"), "", "one\ntwo", ""},
		"the last one without end":   {criLog("stdout F one", "stdout P two"), "--tail 1", "two", ""},
		"empty lines":                {criLog("stdout F ", "stderr F ", "stdout F", "stdout F  ", "stdout F "), "", "\n \n\n", "\n"},
		"an end of a line apart":     {criLog("stdout P one", "stdout F "), "", "one\n", ""},
		"carriage returns":           {criLog("stdout F one\r", "stdout F \r"), "", "one\r\n\r\n", ""},
		"more tags":                  {criLog("stdout P:x on", "stdout F:y e"), "", "one\n", ""},
		"an entry cut off":           {both + strings.TrimSuffix(criLog("stdout F six"), "\n"), "--stream Stdout", "one\nthree\nfive\nsix", ""},
		"an entry that is none":      {both + "nonsense\n" + criLog("stdout F six"), "--stream Stdout", "one\nthree\nfive\nsix\n", ""},
		"parts of two streams":       {criLog("stdout P on", "stderr P tw", "stdout F e", "stderr F o"), "", "one\n", "two\n"},
		"Docker's format, and parts": {dockerLog("on", "e\n", "two"), "", "one\ntwo", ""},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--path", file(t, c.log)}, strings.Fields(c.args)...)
			if got, want := runProgram(t, args...), (result{0, c.out, c.err}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// dockerLog is a log of Docker's.
func dockerLog(entries ...string) string {
	var text strings.Builder
	for _, entry := range entries {
		fmt.Fprintf(&text, `{"log":%q,"stream":"stdout","time":"2026-01-02T03:04:05.6Z"}`+"\n", entry)
	}
	return text.String()
}

// TestReadLongLine has parts of the size that Docker cuts lines into.
func TestReadLongLine(t *testing.T) {
	const part, length = 16 << 10, 100 << 10
	line := strings.Repeat("0123456789", length/10)
	entries := []string{"stdout F before"}
	rest := line
	for ; len(rest) > part; rest = rest[part:] {
		entries = append(entries, "stdout P "+rest[:part])
	}
	entries = append(entries, "stdout F "+rest, "stdout F after")
	path := file(t, criLog(entries...))

	if got, want := runProgram(t, "--path", path), (result{0, "before\n" + line + "\nafter\n", ""}); got != want {
		t.Errorf("got code %d, %d bytes, error %q; want %d bytes", got.code, len(got.out), got.err, len(want.out))
	}
	if got, want := runProgram(t, "--path", path, "--tail", "2"), (result{0, rest + "\nafter\n", ""}); got != want {
		t.Errorf("two entries: got code %d, %d bytes, error %q; want %d bytes", got.code, len(got.out), got.err, len(want.out))
	}
}

func TestReadSinceSeconds(t *testing.T) {
	var text strings.Builder
	for _, age := range []time.Duration{2 * time.Hour, 30 * time.Minute, time.Minute} {
		fmt.Fprintf(&text, "%s stdout F %s\n", time.Now().Add(-age).Format(time.RFC3339Nano), age)
	}
	path := file(t, text.String())
	for seconds, want := range map[string]string{
		"1":     "",
		"3600":  "30m0s\n1m0s\n",
		"86400": "2h0m0s\n30m0s\n1m0s\n",
	} {
		if got := runProgram(t, "--path", path, "--since-seconds", seconds); got != (result{0, want, ""}) {
			t.Errorf("%s s: %+v, want %q", seconds, got, want)
		}
	}
}

func TestWrongArguments(t *testing.T) {
	for args, want := range map[string]string{
		"":                         "--path, or --endpoint and --container, say which log",
		"--container c":            "--path, or --endpoint and --container, say which log",
		"--nonsense":               "not defined: -nonsense",
		"--path x y":               `what is "y"?`,
		"--path x --follow":        "--follow asks --endpoint",
		"--path x --tail -1":       "less than 0",
		"--path x --limit-bytes 0": "less than 1",
		"--path x --since-time z":  "cannot parse",
		"--path x --since-time 2026-01-02T03:04:05Z --since-seconds 1": "exclude each other",
		"--path x --stream stdin":                                      `no stream "stdin"`,
		"--path x --stream Stdout --tail 1":                            "--tail is for all streams only",
		"--path /nothing":                                              "/nothing: no such file",
		"--path /dev/null/0 --tail 1":                                  "not a directory",
		"--endpoint unix:///x --container c":                           "/x: connect: no such file",
	} {
		if r := runProgram(t, strings.Fields(args)...); r.code != 1 || r.out != "" || !strings.Contains(r.err, "logreader: ") || !strings.Contains(r.err, want) {
			t.Errorf("%q: %+v, want %q", args, r, want)
		}
	}
	if r := runProgram(t, "--help"); r.code != 0 || !strings.Contains(r.err, "-limit-bytes") {
		t.Errorf("--help: %+v", r)
	}
}
