// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// cpu is the processor time that a process has used so far.
func (n *node) cpu(pid int) time.Duration {
	n.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	n.must("read the times of a process", err)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const user, system, tick = 11, 12, 10 * time.Millisecond // proc(5), counted from the state; the tick is Linux' for user space
	var sum time.Duration
	for _, i := range []int{user, system} {
		ticks, err := strconv.Atoi(fields[i])
		n.must("read the times of a process", err)
		sum += time.Duration(ticks) * tick
	}
	return sum
}

// chatter mounts a file of 100-byte lines, so that a container writes as fast as
// it is read.
func (n *node) chatter(size int) func(*cri.ContainerConfig) {
	n.Helper()
	dir := n.TempDir()
	text := strings.Repeat(strings.Repeat("0123456789", 10)[:99]+"\n", size/100)
	n.must("write a file", os.WriteFile(filepath.Join(dir, "lines"), []byte(text), 0o600))
	return func(c *cri.ContainerConfig) {
		c.Mounts = append(c.Mounts, &cri.Mount{HostPath: dir, ContainerPath: "/data", Readonly: true})
	}
}

// TestCostLogs compares a container that writes 1 GB of 100-byte lines with one
// whose log nobody wants.
func TestCostLogs(t *testing.T) {
	needBench(t)
	const rounds, size, part = 3, 1_000_000_000, 100_000_000
	const mostCPU, mostTime = 0.25, 1.05
	n := newNode(t, "--v=0")
	p := n.pod()
	data := n.chatter(part)
	script := fmt.Sprintf("for i in $(/bin/busybox seq %d); do cat /data/lines; done", size/part)
	run := func(edit func(*cri.ContainerConfig)) (took, engine, ours time.Duration) {
		syscall.Sync() // what was written before does not disturb
		enginePID, ourPID := n.engine.pid(n), n.daemon.process.Process.Pid
		engine, ours = n.cpu(enginePID), n.cpu(ourPID)
		c := p.container(script, data, edit)
		within(n, 3*time.Minute, "the container ends", func() bool { return c.status().GetState() == cri.ContainerState_CONTAINER_EXITED })
		engine, ours = n.cpu(enginePID)-engine, n.cpu(ourPID)-ours
		s := n.engine.inspect(n, c.id).State
		took = engineTime(n, s.FinishedAt).Sub(engineTime(n, s.StartedAt))
		c.remove()
		n.must("remove the log", os.RemoveAll(p.config.GetLogDirectory()))
		return took, engine, ours
	}
	// Each pair is close in time, as the machine's speed changes slowly.
	var ratios, shares []float64
	for range rounds {
		without, engine, _ := run(func(c *cri.ContainerConfig) { c.LogPath = "" })
		n.Logf("engine %s: 1 GB without a log: %s, engine's processor time %s", os.Getenv("ENGINE_VERSION"), without, engine)
		took, engine, ours := run(plain)
		ratios, shares = append(ratios, float64(took)/float64(without)), append(shares, float64(ours)/float64(engine))
		n.Logf("engine %s: 1 GB with a log: %s, engine's processor time %s, ours %s", os.Getenv("ENGINE_VERSION"), took, engine, ours)
	}
	slices.Sort(shares)
	slices.Sort(ratios)
	share, ratio := shares[rounds/2], ratios[rounds/2]
	n.Logf("engine %s: the daemon takes %.3f of the engine's processor time; writing takes %.3f of the time without a log", os.Getenv("ENGINE_VERSION"), share, ratio)
	if share > mostCPU || ratio > mostTime {
		n.Errorf("more than %v or %v", mostCPU, mostTime)
	}
}

// TestCostLogLag measures how old lines are when they appear in the log.
func TestCostLogLag(t *testing.T) {
	needBench(t)
	const most, lasts = 100 * time.Millisecond, 10 * time.Second
	n := newNode(t, "--v=0")
	c := n.pod().container("while true; do /bin/busybox seq 100; sleep 0.1; done")
	file, err := os.Open(c.logPath())
	n.must("open the log", err)
	defer file.Close()
	var lags []time.Duration
	var rest []byte
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(lasts); time.Now().Before(end); <-look.C {
		more, err := io.ReadAll(file)
		n.must("read the log", err)
		text := append(rest, more...)
		whole := bytes.LastIndexByte(text, '\n') + 1
		rest = text[whole:]
		for _, l := range n.lines(text[:whole]) {
			written, err := time.Parse(time.RFC3339Nano, l.time)
			n.must("read a time", err)
			lags = append(lags, time.Since(written))
		}
	}
	slices.Sort(lags)
	at := func(share float64) time.Duration { return lags[int(share*float64(len(lags)-1))] }
	n.Logf("engine %s: %d lines in %s: lag %s in the middle, %s of 99 %%, %s at most", os.Getenv("ENGINE_VERSION"), len(lags), lasts, at(0.5), at(0.99), at(1))
	if at(0.99) > most {
		n.Errorf("more than %s", most)
	}
}

// TestCostManyLogs has 50 containers write at once, and measures how long after
// the last has ended all is in the logs.
func TestCostManyLogs(t *testing.T) {
	needBench(t)
	const containers, size, most = 50, 20_000_000, 2 * time.Second
	n := newNode(t, "--v=0")
	p := n.pod()
	data := n.chatter(size)
	before, engineBefore := n.cpu(n.daemon.process.Process.Pid), n.cpu(n.engine.pid(n))
	all := make([]*workload, containers)
	for i := range all {
		all[i] = p.container("cat /data/lines", data)
	}
	var latest time.Duration
	for _, c := range all {
		within(n, 3*time.Minute, "the container ends", func() bool { return c.status().GetState() == cri.ContainerState_CONTAINER_EXITED })
	}
	for _, c := range all {
		info, err := os.Stat(c.logPath())
		n.must("look at the log", err)
		if lines := c.allLines(); len(lines) != size/100 {
			n.Errorf("the log has %d lines, want %d", len(lines), size/100)
		}
		latest = max(latest, info.ModTime().Sub(engineTime(n, n.engine.inspect(n, c.id).State.FinishedAt)))
	}
	ours, engine := n.cpu(n.daemon.process.Process.Pid)-before, n.cpu(n.engine.pid(n))-engineBefore
	n.Logf("engine %s: %d containers of %d MB: a log is complete at most %s after its container's end; processor time %s, the engine's %s",
		os.Getenv("ENGINE_VERSION"), containers, size/1_000_000, latest, ours, engine)
	if latest > most {
		n.Errorf("more than %s", most)
	}
}
