// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2/ktesting"

	"github.com/dockershimd/dockershimd/adapter"
	"github.com/dockershimd/dockershimd/adapter/staging"
	"github.com/dockershimd/dockershimd/logs"
	"github.com/dockershimd/dockershimd/network"
	"github.com/dockershimd/dockershimd/streaming"
)

// ownServer is the daemon's parts in the test's own process, where goroutines
// can be counted. It serves the pods of n.
func (n *node) ownServer() *adapter.Server {
	n.Helper()
	engine, err := adapter.Dial(os.Getenv("ENGINE_HOST"))
	n.must("dial the engine", err)
	dir := n.TempDir()
	pods, err := network.New(network.Config{
		ConfDir: n.conf, BinDirs: []string{"/usr/lib/cni"}, CacheDir: filepath.Join(dir, "cache"), NetnsDir: n.netns,
	})
	n.must("make a network", err)
	streams, err := streaming.New(streaming.Config{DrainTime: time.Second})
	n.must("make a streaming server", err)
	log, ctx := ktesting.NewTestContext(n.T)
	carrier, err := logs.New(logs.Config{Dir: filepath.Join(dir, "logs")}, log)
	n.must("make a carrier of logs", err)
	n.Cleanup(func() { carrier.Close() })
	cgroups, err := adapter.NodeCgroups(filepath.Join(dir, "cgroups"))
	n.must("look at the node's cgroups", err)
	s, err := adapter.New(adapter.Parts{
		Engine: engine, Network: pods, Streams: streams, Logs: carrier, Cgroups: cgroups, Staging: staging.New(filepath.Join(dir, "mounts")),
	}, adapter.Config{
		Endpoint: os.Getenv("ENGINE_HOST"), PauseImage: "none", OOMScoreAdj: adapter.OOMScoreAuto,
	}, log)
	n.must("make a server", err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{}, 2)
	go func() {
		_ = s.Run(ctx)
		done <- struct{}{}
	}()
	go func() {
		_ = streams.Run(ctx, s)
		done <- struct{}{}
	}()
	n.Cleanup(func() {
		cancel()
		<-done
		<-done
		engine.Close()
	})
	return s
}

// TestStreamsLeaveNothing counts goroutines, descriptors and processes before
// and after commands that end, clients that vanish, and connections to ports.
func TestStreamsLeaveNothing(t *testing.T) {
	n := newNode(t)
	p := n.pod(onHostNetwork)
	c := p.steady()
	p.container("httpd -f -p 127.0.0.1:18081 -h /www")
	s := n.ownServer()
	eventually(n, "the container is known", func() bool {
		list, err := s.ListContainers(n.Context(), &cri.ListContainersRequest{})
		return err == nil && len(list.Containers) == 2
	})
	before := c.processes()
	var first, last tally
	for round := range 4 {
		n.sub(fmt.Sprint("round ", round), func(n *node) { n.streamsOfAllKinds(s, c.in(n)) })
		// The first round makes what is made once.
		if last = n.awaitQuiet(); round == 0 {
			first = last
		}
	}
	c.awaitProcesses(before)
	// The engine's client keeps a few connections for the next calls, each with two
	// goroutines.
	const kept = 4
	if last.goroutines > first.goroutines+2*kept || last.files > first.files+kept {
		stacks := make([]byte, 1<<20)
		n.Errorf("%+v, after one round there were %+v\n%s", last, first, stacks[:runtime.Stack(stacks, true)])
	}
	n.Logf("after one round %+v, after four %+v", first, last)
}

// streamsOfAllKinds come to an end of their own, or by the end of their clients.
func (n *node) streamsOfAllKinds(s *adapter.Server, c *workload) {
	exec := func(protocol, script string) *background {
		r, err := s.Exec(n.Context(), &cri.ExecRequest{ContainerId: c.id, Cmd: []string{"sh", "-c", script}, Stdin: true, Stdout: true, Stderr: true})
		n.must("Exec", err)
		return n.startClient("exec", r.GetUrl(), session{protocol: protocol})
	}
	for _, protocol := range protocols {
		ends, vanishes := exec(protocol, "echo ready; exit 3"), exec(protocol, "echo ready; sleep 1000 & sleep 1001")
		if code := ends.awaitEnd(); code != 3 {
			n.Errorf("exit code %d, %s", code, ends.errs)
		}
		vanishes.awaitOutput("ready")
		vanishes.vanish()
	}
	r, err := s.PortForward(n.Context(), &cri.PortForwardRequest{PodSandboxId: c.pod.id})
	n.must("PortForward", err)
	address := c.pod.in(n).forwardURL(r.GetUrl(), 18081)
	n.together("get", 20, func(int) error { _, err := get(address); return err })
	_, err = s.ExecSync(n.Context(), &cri.ExecSyncRequest{ContainerId: c.id, Cmd: []string{"sh", "-c", "sleep 1000 & sleep 1001"}, Timeout: 1})
	if err == nil {
		n.Error("a command that runs for ever has ended")
	}
}

// tally is what the test's process has.
type tally struct{ goroutines, files int }

// awaitQuiet waits until the tally stays the same for a while.
func (n *node) awaitQuiet() tally {
	n.Helper()
	var last tally
	var since time.Time
	eventually(n, "goroutines and files stay the same", func() bool {
		files, err := os.ReadDir("/proc/self/fd")
		n.must("count files", err)
		if now := (tally{runtime.NumGoroutine(), len(files)}); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
	return last
}
