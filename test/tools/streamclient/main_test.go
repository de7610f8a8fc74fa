// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// asProgram in the environment makes the test binary the program: what a
// process has one of, such as its log and its signals, is then each run's own.
const asProgram = "TEST_AS_STREAMCLIENT"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// result is what a run of the program left.
type result struct {
	code     int
	out, err string
}

// program is one run, which ends with the test at the latest.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), asProgram+"=1")
	return c
}

// runProgram lets the program come to its end, with input that stays open
// until then. The fake server closes its connections at a command's end without
// regard to what the client still sends, and the kernel answers that with a
// reset, which takes away output that has not been read yet: an end of input
// that comes late would do so now and then.
func runProgram(t *testing.T, in string, args ...string) result {
	t.Helper()
	c := program(t, args...)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stdin, in); err != nil {
		t.Fatal(err)
	}
	return finish(t, c)
}

func finish(t *testing.T, c *exec.Cmd) result {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(20*time.Second, func() { _ = c.Process.Kill() })
	defer kill.Stop()
	if err := c.Wait(); c.ProcessState.ExitCode() < 0 {
		t.Errorf("the program was killed: %v, %s", err, &errs)
	}
	return result{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

func TestWrongArguments(t *testing.T) {
	for args, want := range map[string]string{
		"":                         "usage:",
		"sing":                     `no "sing": usage:`,
		"exec":                     "--url is missing",
		"exec --nonsense":          "not defined: -nonsense",
		"exec --url http://x ls":   `what is "ls"?`,
		"exec --size 80x24":        "--size is for --tty only",
		"exec --tty --size 80":     `"80" is no WIDTHxHEIGHT`,
		"exec --tty --size 1x2x3":  `"1x2x3" is no WIDTHxHEIGHT`,
		"exec --tty --size 1x2,":   `"" is no WIDTHxHEIGHT`,
		"exec --tty --size 1x9999": "--url is missing",
		"exec --url http://127.0.0.1:1 --protocol pigeon":                             `no protocol "pigeon"`,
		"exec --url http://x --protocol websocket-v5 --subprotocol v4.channel.k8s.io": "takes no --subprotocol",
		"forward --url http://127.0.0.1:1":                                            "at least 1 port",
		"forward --url http://127.0.0.1:1 0:80":                                       "connection refused",
		"forward --protocol websocket --url x 0:80":                                   `no protocol "websocket"`,
		"attach --url http://127.0.0.1:1":                                             "connection refused",
		"attach --url http://127.0.0.1:1 --ca nothing":                                "nothing: no such file",
	} {
		if r := runProgram(t, "", strings.Fields(args)...); r.code != failed || !strings.Contains(r.err, "streamclient: ") || !strings.Contains(r.err, want) {
			t.Errorf("%q: %+v, want %q", args, r, want)
		}
	}
	if r := runProgram(t, "", "exec", "--help"); r.code != 0 || !strings.Contains(r.err, "-read-delay") {
		t.Errorf("--help: %+v", r)
	}
}
