// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// setting is a number that the environment may change.
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return value
}

// TestLogsOverKills counts the lines of containers that write all the time,
// while the daemon is killed again and again and the kubelet rotates their logs.
// LOG_LINES, LOG_CONTAINERS and LOG_KILLS make it longer.
func TestLogsOverKills(t *testing.T) {
	const parts = 100   // with pauses between, so that the writing lasts as long as the kills
	const perKill = 0.8 // seconds, with a restart
	containers, kills := setting(t, "LOG_CONTAINERS", 6), setting(t, "LOG_KILLS", 12)
	lines := setting(t, "LOG_LINES", 900_000) / containers / parts * parts
	n := newNode(t, "--v=0")
	script := fmt.Sprintf("for p in $(/bin/busybox seq 1 %d); do /bin/busybox seq $((($p-1)*%d+1)) $(($p*%[2]d)); sleep %.2[3]f; done", parts, lines/parts, float64(kills)*perKill/parts)
	p := n.pod()
	all := make([]*workload, containers)
	for i := range all {
		all[i] = p.container(script)
	}
	kubelet := &rotator{all: all}
	random := randomMoments(t, 600*time.Millisecond)
	for range kills {
		ended := kubelet.start(n.runtime)
		<-time.After(random())
		n.end(n, syscall.SIGKILL)
		ended()
		n.daemon.start(t)
	}
	ended := kubelet.start(n.runtime)
	for _, c := range all {
		within(n, 5*time.Minute, "the container ends", func() bool { return c.status().GetState() == cri.ContainerState_CONTAINER_EXITED })
	}
	ended()
	n.Logf("%d containers, %d lines each, %d kills, %d rotations and %d in vain", containers, lines, kills, kubelet.done, kubelet.failed)
	if kubelet.done < kills {
		n.Error("too few rotations to tell anything")
	}
	for _, c := range all {
		c.wantCounted(lines)
	}
}

// rotator rotates the logs of containers, one after the other, as the kubelet does.
type rotator struct {
	all          []*workload
	done, failed int
}

// start goes on until stop is called, by a client of the daemon of now.
func (r *rotator) start(runtime cri.RuntimeServiceClient) (stop func()) {
	var running sync.WaitGroup
	end := make(chan struct{})
	running.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if err := r.all[i%len(r.all)].rotate(runtime); err == nil {
				r.done++
			} else {
				r.failed++
			}
		}
	})
	return func() {
		close(end)
		running.Wait()
	}
}

// TestLogsOverEngineRestart: with live-restore containers write on while the
// engine is away; they wait when its pipes are full. What the engine has taken
// from a pipe and not yet written when it ends is lost in its memory, so that
// its own log is what can be asked for, and not each number.
func TestLogsOverEngineRestart(t *testing.T) {
	const last = 300_000 // less than Docker's first file takes
	n := newNode(t)
	n.endEngine(syscall.SIGTERM)
	n.startEngine("--live-restore")
	t.Cleanup(func() {
		n.endEngine(syscall.SIGTERM)
		n.startEngine()
	})
	n.keepBalance()
	c := n.pod().container(fmt.Sprintf("for p in $(/bin/busybox seq 1 30); do /bin/busybox seq $((($p-1)*%d+1)) $(($p*%[1]d)); sleep 0.2; done", last/30))
	n.endEngine(syscall.SIGTERM)
	n.startEngine("--live-restore")
	within(n, time.Minute, "the container ends", func() bool { return c.status().GetState() == cri.ContainerState_CONTAINER_EXITED })
	engines, ours := strings.SplitAfter(n.dockerLogs(c.id), "\n"), c.allLines()
	engines = engines[:len(engines)-1]
	n.Logf("%d of %d lines survived in the engine", len(engines), last)
	if len(ours) != len(engines) || len(ours) < last/2 {
		n.Fatalf("%d lines of the engine's %d", len(ours), len(engines))
	}
	for i, l := range ours {
		if l.text+"\n" != engines[i] {
			n.Fatalf("line %d is %q, the engine's is %q", i, l.text, engines[i])
		}
	}
}

// TestAwayForTooLong: the engine keeps less than the container has written while
// the daemon was away. The log says so, and so do the figures.
func TestAwayForTooLong(t *testing.T) {
	const last = 200_000
	n := newNode(t, "--container-logs-spool-size=1m")
	c := n.pod().container("echo begun; read go; "+counting(last)+"; echo end; "+idle, withInput)
	c.awaitLog("begun")
	n.end(t, syscall.SIGKILL)
	c.input("go")
	within(n, time.Minute, "the container has written all", func() bool { return strings.Contains(n.dockerLogs(c.id), "end\n") })
	n.daemon.start(t)
	c.awaitLog("end\n")
	lines := c.allLines()
	var marks, mark int
	for i, l := range lines {
		if strings.Contains(l.text, "lines may be missing here") {
			marks, mark = marks+1, i
		}
	}
	if marks != 1 || mark != 1 || len(lines) < 1000 {
		n.Fatalf("%d lines, and %d of them, the last being number %d, say that some may be missing", len(lines), marks, mark)
	}
	first, err := strconv.Atoi(lines[mark+1].text)
	n.must("read the first line after the gap", err)
	for i, l := range lines[mark+1 : len(lines)-1] {
		if l.text != strconv.Itoa(first+i) {
			n.Fatalf("after the gap line %d is %q, want %d", i, l.text, first+i)
		}
	}
	if out := n.crictl("info"); !strings.Contains(out, `"losses": 1`) {
		n.Errorf("info does not count the loss: %s", out)
	}
}

// TestSpoolTamperedWith: people empty or remove Docker's files, when a disk is full.
func TestSpoolTamperedWith(t *testing.T) {
	for name, tamper := range map[string]func(path string) error{
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"removed": os.Remove,
		"garbage": func(path string) error {
			file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = file.WriteString("garbage\n{\"log\":\"torn")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			c := n.pod().container(echoing, withInput)
			c.input("before")
			c.awaitLog("before\n")
			spool := n.engine.inspect(n, c.id).LogPath
			n.must("tamper with it", tamper(spool))
			c.input("after")
			c.awaitLog("after\n")
			n.restart(syscall.SIGKILL)
			if name != "removed" { // nobody else than the engine can read it then
				c.input("after a restart")
				c.awaitLog("after a restart\n")
			}
			if got := strings.Count(c.log(), "before\n") + strings.Count(c.log(), "after\n"); got != 2 {
				n.Errorf("the log is %q", c.log())
			}
			if name == "garbage" && !strings.Contains(c.log(), "not a line of Docker's log: garbage\n") {
				n.Errorf("the garbage is not kept: %q", c.log())
			}
		})
	}
}
