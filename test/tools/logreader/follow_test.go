// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is enough for whatever should happen soon, on a busy machine too.
const patience = 10 * time.Second

// follower is a program that runs.
type follower struct {
	*container
	out   output
	codes chan int
}

// follow starts the program, which ends with the test at the latest.
func (c *container) follow(args ...string) *follower {
	f := &follower{container: c, codes: make(chan int, 1)}
	args = append([]string{"--endpoint", c.endpoint, "--container", "c", "--follow"}, args...)
	go func() { f.codes <- run(c.Context(), args, &f.out, &f.out) }()
	return f
}

// await waits for what should become true soon.
func (f *follower) await(done func() bool) {
	f.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for limit := time.After(patience); !done(); {
		select {
		case <-limit:
			f.Fatalf("nothing comes; got %q", &f.out)
		case <-look.C:
		}
	}
}

// awaitWatch waits until the program watches the log's folder: it asks for the
// status then, after it has done so for the path. Rotations before go unnoticed.
func (f *follower) awaitWatch() {
	f.Helper()
	f.await(func() bool { return f.asked.Load() > 1 })
}

// awaitOutput waits until the program has shown the text, and nothing else.
func (f *follower) awaitOutput(text string) {
	f.Helper()
	f.await(func() bool { return f.out.String() == text })
}

// awaitEnd waits for the program's end; it has shown the text, and nothing else.
func (f *follower) awaitEnd(text string) {
	f.Helper()
	select {
	case code := <-f.codes:
		if code != 0 || f.out.String() != text {
			f.Errorf("exit code %d, %q, want %q", code, &f.out, text)
		}
	case <-time.After(patience):
		f.Fatalf("no end; got %q, want %q", &f.out, text)
	}
}

// output is read while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// TestPathOfStatus reads the log of a container that has ended.
func TestPathOfStatus(t *testing.T) {
	c := newContainer(t)
	c.ended.Store(true)
	c.writes(criLog("stdout F one", "stderr P two"))
	args := []string{"--endpoint", c.endpoint, "--container", "c"}
	if got, want := runProgram(t, args...), (result{0, "one\n", "two"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if r := runProgram(t, "--endpoint", c.endpoint, "--container", "x"); r.code != 1 || !strings.Contains(r.err, "no such container") {
		t.Errorf("a container that is not there: %+v", r)
	}
	c.path = ""
	if r := runProgram(t, args...); r.code != 1 || !strings.Contains(r.err, "no log path") {
		t.Errorf("a container without log: %+v", r)
	}
}

func TestFollow(t *testing.T) {
	c := newContainer(t)
	c.writes(criLog("stdout F one", "stdout F two"))
	f := c.follow("--tail", "1")
	f.awaitOutput("two\n")
	entry := criLog("stdout F three")
	c.writes(entry[:10])
	c.writes(entry[10:])
	f.awaitOutput("two\nthree\n")
	// What is there when the container ends is shown still.
	c.writes(criLog("stdout F four", "stderr P five"))
	c.ended.Store(true)
	f.awaitEnd("two\nthree\nfour\nfive")
}

// TestFollowEnded follows a container that does not run any more.
func TestFollowEnded(t *testing.T) {
	c := newContainer(t)
	c.ended.Store(true)
	c.writes(criLog("stdout F one", "stdout P two"))
	c.follow().awaitEnd("one\ntwo")
}

// TestFollowRotation has new files in the log's place, as a runtime makes them
// in ReopenContainerLog.
func TestFollowRotation(t *testing.T) {
	c := newContainer(t)
	f := c.follow()
	f.awaitWatch()
	shown := ""
	for _, text := range []string{"one", "two", "three", "four"} {
		c.writes(criLog("stdout F " + text))
		shown += text + "\n"
		// Of two rotations that come before the reader has seen one, it shows
		// one file twice, or never.
		f.awaitOutput(shown)
		c.must(os.Rename(c.path, c.path+"."+text))
		c.writes("")
	}
	c.writes(criLog("stdout F end"))
	f.awaitOutput(shown + "end\n")
	c.ended.Store(true)
	f.awaitEnd(shown + "end\n")
}
