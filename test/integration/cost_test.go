// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/network"
)

// needBench skips what takes time and means little on a busy machine.
func needBench(t *testing.T) {
	t.Helper()
	if os.Getenv("BENCH") == "" {
		t.Skip("BENCH is not set: see make bench")
	}
}

// median of some durations.
func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// settle lets the engine clear up after what was done before.
const settle = 30 * time.Millisecond

// alternate takes the time of two things in turn, so that whatever else the
// machine does meets both.
func alternate(rounds int, one, other func()) (time.Duration, time.Duration) {
	var ones, others []time.Duration
	timed := func(what func()) time.Duration {
		<-time.After(settle)
		start := time.Now()
		what()
		return time.Since(start)
	}
	for range rounds {
		ones = append(ones, timed(one))
		others = append(others, timed(other))
	}
	return median(ones), median(others)
}

// TestCostExecSync compares a probe with the same exec through the Engine API.
func TestCostExecSync(t *testing.T) {
	needBench(t)
	const rounds, most = 200, 1.15
	n := newNode(t, "--v=0")
	c := n.pod().steady()
	cmd := []string{"true"}
	ours, theirs := alternate(rounds, func() {
		r, err := n.runtime.ExecSync(n.Context(), &cri.ExecSyncRequest{ContainerId: c.id, Cmd: cmd, Timeout: 10})
		if err != nil || r.ExitCode != 0 {
			n.Fatal(r, err)
		}
	}, func() { n.must("exec", n.engine.exec(n.Context(), c.id, cmd)) })
	ratio := float64(ours) / float64(theirs)
	n.Logf("engine %s: ExecSync of true %s, the engine alone %s: %.3f x", os.Getenv("ENGINE_VERSION"), ours, theirs, ratio)
	if ratio > most {
		n.Errorf("%.3f x is more than %v x", ratio, most)
	}
}

// exec is the least that runs a command to its end and learns its exit code.
func (e engine) exec(ctx context.Context, id string, cmd []string) error {
	created, err := e.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: cmd, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return err
	}
	stream, err := e.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer stream.Close()
	if _, err := stdcopy.StdCopy(io.Discard, io.Discard, stream.Reader); err != nil {
		return err
	}
	end, err := e.ContainerExecInspect(ctx, created.ID)
	if err == nil && (end.Running || end.ExitCode != 0) {
		err = fmt.Errorf("the command has not ended well: %+v", end)
	}
	return err
}

// TestCostForward compares a forwarded connection with a plain copy between two
// TCP connections, of which one is in the pod's namespace as well.
func TestCostForward(t *testing.T) {
	needBench(t)
	const rounds, size = 7, 128 << 20
	n := newNode(t, "--v=0")
	p := n.pod()
	p.container("nc -ll -p 9000 -e cat /dev/zero & nc -ll -p 9001 -e sh -c 'head -c 134217728 >/dev/null; echo done'; wait", func(c *cri.ContainerConfig) {
		c.Args = []string{"nc -ll -p 9000 -e cat /dev/zero & exec nc -ll -p 9001 -e sh -c 'head -c 134217728 >/dev/null; echo done'"}
	})
	pods, err := network.New(network.Config{ConfDir: n.conf, BinDirs: []string{"/usr/lib/cni"}, CacheDir: n.cache, NetnsDir: n.netns})
	n.must("look at the pods' network", err)
	for name, test := range map[string]struct {
		port uint16
		move func(net.Conn) error
	}{
		"from the pod": {9000, func(conn net.Conn) error { _, err := io.CopyN(io.Discard, conn, size); return err }},
		"to the pod": {9001, func(conn net.Conn) error {
			zeros := make([]byte, 64<<10)
			for range size / len(zeros) {
				if _, err := conn.Write(zeros); err != nil {
					return err
				}
			}
			_, err := io.ReadAtLeast(conn, make([]byte, 5), 5)
			return err
		}},
	} {
		forwarded, plain := p.forward(int(test.port)), n.plainCopy(pods, p.id, test.port)
		through := func(address string) func() {
			return func() {
				conn, err := net.Dial("tcp", address)
				n.must("connect", err)
				defer conn.Close()
				n.must("move", test.move(conn))
			}
		}
		eventually(n, "the server listens", func() bool {
			c, err := pods.Dial(n.Context(), p.id, test.port)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		ours, theirs := alternate(rounds, through(forwarded), through(plain))
		rate := func(d time.Duration) float64 { return size / d.Seconds() / 1e6 }
		n.Logf("engine %s: %s: forwarded %.0f MB/s, plain copy %.0f MB/s: %.2f of it", os.Getenv("ENGINE_VERSION"), name, rate(ours), rate(theirs), float64(theirs)/float64(ours))
	}
}

// plainCopy listens for a port of the pod and copies, both ways, with nothing
// in between.
func (n *node) plainCopy(pods *network.Network, id string, port uint16) string {
	n.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	n.must("listen", err)
	n.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				pod, err := pods.Dial(n.Context(), id, port)
				if err != nil {
					return
				}
				defer pod.Close()
				go func() {
					_, _ = io.Copy(pod, client)
					_ = pod.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(client, pod)
			}()
		}
	}()
	return listener.Addr().String()
}
