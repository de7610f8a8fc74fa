// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// tells is a script that tells which signal it got, and ends with 7.
func tells(signals ...string) string {
	script := ""
	for _, s := range signals {
		script += fmt.Sprintf("trap 'echo got %s; exit 7' %s; ", s, s)
	}
	return script + "echo ready; while true; do sleep 1000 & wait $!; done"
}

// deaf is a script that no signal ends but KILL.
const deaf = "trap '' TERM; echo ready; while true; do sleep 1000 & wait $!; done"

// TestStopSignals: the container's, else the image's, else TERM.
func TestStopSignals(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	asks := func(s cri.Signal) func(*cri.ContainerConfig) {
		return func(c *cri.ContainerConfig) { c.StopSignal = s }
	}
	ofImage := func(c *cri.ContainerConfig) { c.Image = &cri.ImageSpec{Image: suite.registry.ref(userImage)} }
	for name, test := range map[string]struct {
		own   bool // needs an image of the suite's
		edits []func(*cri.ContainerConfig)
		trap  string // as the shell names it
		want  cri.Signal
	}{
		"none named":         {false, nil, "TERM", cri.Signal_SIGNAL_SIGTERM},
		"the container's":    {false, []func(*cri.ContainerConfig){asks(cri.Signal_SIGNAL_SIGUSR2)}, "USR2", cri.Signal_SIGNAL_SIGUSR2},
		"hang up":            {false, []func(*cri.ContainerConfig){asks(cri.Signal_SIGNAL_SIGHUP)}, "HUP", cri.Signal_SIGNAL_SIGHUP},
		"a real-time signal": {false, []func(*cri.ContainerConfig){asks(cri.Signal_SIGNAL_SIGRTMINPLUS3)}, "37", cri.Signal_SIGNAL_SIGRTMINPLUS3},
		"the image's":        {true, []func(*cri.ContainerConfig){ofImage}, "USR1", cri.Signal_SIGNAL_SIGUSR1},
		"over the image's":   {true, []func(*cri.ContainerConfig){ofImage, asks(cri.Signal_SIGNAL_SIGINT)}, "INT", cri.Signal_SIGNAL_SIGINT},
	} {
		k.sub(name, func(k *kubelet) {
			if test.own {
				k.needOwnImages()
			}
			c := p.in(k).container(tells("TERM", "USR1", "USR2", "HUP", "INT", "37"), test.edits...)
			c.awaitLog("ready\n")
			if got := c.status().GetStopSignal(); got != test.want {
				k.Errorf("the status says %s, want %s", got, test.want)
			}
			k.must("StopContainer", c.stop(int64(patience.Seconds())))
			if ended := c.status(); ended.GetExitCode() != 7 || c.log() != "ready\ngot "+test.trap+"\n" {
				k.Errorf("it ended with %d and wrote %q", ended.GetExitCode(), c.log())
			}
		})
	}
	k.sub("none that there is", func(k *kubelet) { p.in(k).wantRefused(asks(1000), "stop_signal") })
}

// TestGracePeriods measures how long containers are given.
func TestGracePeriods(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	for name, test := range map[string]struct {
		script string
		grace  int64
		least  time.Duration
		code   int32
	}{
		"it ends at once":    {tells("TERM"), 600, 0, 7},
		"it uses the time":   {"trap 'sleep 1; exit 8' TERM; echo ready; while true; do sleep 1000 & wait $!; done", 600, time.Second, 8},
		"it is killed":       {deaf, 2, 2 * time.Second, 137},
		"it has no time":     {deaf, 0, 0, 137},
		"it is not asked to": {tells("TERM"), 0, 0, 137},
	} {
		k.sub(name, func(k *kubelet) {
			c := p.in(k).container(test.script)
			c.awaitLog("ready\n")
			took := takes(func() { k.must("StopContainer", c.stop(test.grace)) })
			c.wantState("after StopContainer", cri.ContainerState_CONTAINER_EXITED)
			if took < test.least || took > test.least+patience {
				k.Errorf("it took %s, want %s and little more", took, test.least)
			}
			code := c.status().GetExitCode()
			// Without grace a runtime may still ask before it kills.
			if code != test.code && !(test.grace == 0 && code == 7) {
				k.Errorf("it ended with %d, want %d", code, test.code)
			}
		})
	}
}

// TestGraceIsCutShort: a pod is deleted once more, with less time.
func TestGraceIsCutShort(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	k.sub("the first call waits on", func(k *kubelet) {
		c := p.in(k).container(deaf)
		c.awaitLog("ready\n")
		first := make(chan error, 1)
		go func() { first <- c.stop(600) }()
		k.wantCut(c)
		select {
		case err := <-first:
			k.must("the first StopContainer", err)
		case <-time.After(patience):
			k.Fatal("the first StopContainer does not return")
		}
	})
	k.sub("the first call is given up", func(k *kubelet) {
		c := p.in(k).container(deaf)
		c.awaitLog("ready\n")
		ctx, giveUp := context.WithCancel(k.Context())
		first := make(chan error, 1)
		go func() {
			_, err := k.runtime.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: c.id, Timeout: 600})
			first <- err
		}()
		giveUp()
		k.wantCode("the first StopContainer", <-first, codes.Canceled)
		k.wantCut(c)
	})
}

// wantCut stops a container that does not listen, with little time.
func (k *kubelet) wantCut(c *container) {
	k.Helper()
	took := takes(func() { k.must("StopContainer", c.stop(1)) })
	c.wantState("after StopContainer", cri.ContainerState_CONTAINER_EXITED)
	if took > patience {
		k.Errorf("it took %s", took)
	}
}

// TestEndOfAPod: its containers are killed, and their children.
func TestEndOfAPod(t *testing.T) {
	k := newKubelet(t)
	for name, end := range map[string]func(*pod) error{"StopPodSandbox": (*pod).stop, "RemovePodSandbox": (*pod).remove} {
		k.sub(name, func(k *kubelet) {
			p := k.pod()
			c := p.container(deaf)
			c.awaitLog("ready\n")
			namespace := c.namespace("pid")
			if firstOf(namespace) == 0 {
				k.Fatal("its processes are not seen on the node")
			}
			k.must(name, end(p))
			eventually(k, "its processes end", func() bool { return firstOf(namespace) == 0 })
		})
	}
}
