// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2/ktesting"

	"github.com/dockershimd/dockershimd/adapter/staging"
	"github.com/dockershimd/dockershimd/internal/fakeengine"
	"github.com/dockershimd/dockershimd/logs"
	"github.com/dockershimd/dockershimd/network"
)

// patience is how long a test waits for what should take milliseconds.
const patience = 10 * time.Second

// rig is a server with an engine in memory and a network that only remembers.
type rig struct {
	*Server
	t       *testing.T
	engine  *fakeengine.Engine
	net     *fakeNetwork
	carrier *fakeLogs
	cg      *fakeCgroups
	stages  *fakeStaging
}

const (
	pauseRef = "registry.example/pause:1"
	appRef   = "registry.example/app:1"
)

// newRig is a server whose index is filled, but which follows no events.
func newRig(t *testing.T) *rig {
	t.Helper()
	engine := fakeengine.New(t.TempDir())
	engine.AddImage(fakeengine.Image{Tags: []string{pauseRef}})
	engine.AddImage(fakeengine.Image{Tags: []string{appRef}, Config: ocispec.ImageConfig{User: "1000:1000"}, Files: passwd})
	return newRigOn(t, engine, &fakeNetwork{attached: map[string]network.Pod{}})
}

// newRigOn is what a restart of the adapter is: a new server on what exists.
func newRigOn(t *testing.T, engine *fakeengine.Engine, net *fakeNetwork) *rig {
	t.Helper()
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 192.0.2.53\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	log, _ := ktesting.NewTestContext(t)
	carrier := &fakeLogs{following: map[string]logs.Container{}}
	faults := &faults{}
	cg, stages := newFakeCgroups(faults), &fakeStaging{faults: faults, staged: map[string][]staging.Mount{}}
	server, err := New(Parts{engine, net, &fakeStreams{}, carrier, cg, stages}, Config{
		Endpoint: "unix:///nowhere", PauseImage: pauseRef, OOMScoreAdj: OOMScoreExact,
		PullProgressDeadline: time.Minute, ResolvConf: resolv,
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Server: server, t: t, engine: engine, net: net, carrier: carrier, cg: cg, stages: stages}
	if err := server.refreshNode(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.compare(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	server.setSynced()
	engine.ResetCalls()
	t.Cleanup(func() {
		server.background.Wait()
		server.flights.wait()
	})
	return r
}

// watched makes the server follow the engine's events, as in real life.
func (r *rig) watched() *rig {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx)
	}()
	r.t.Cleanup(func() {
		cancel()
		<-done
	})
	r.eventually("the server follows the engine", func() bool { return r.health.err() == nil })
	r.engine.ResetCalls()
	return r
}

// eventually waits for a condition that other goroutines bring about.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func podConfig(name string) *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: name, Namespace: "default", Uid: "uid-" + name},
		Hostname: name,
		Labels:   map[string]string{"app": name},
		Linux:    &cri.LinuxPodSandboxConfig{},
	}
}

func hostNetworkPod(name string) *cri.PodSandboxConfig {
	c := podConfig(name)
	c.Linux.SecurityContext = &cri.LinuxSandboxSecurityContext{
		NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE},
	}
	return c
}

func containerConfig(name string) *cri.ContainerConfig {
	return &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: name},
		Image:    &cri.ImageSpec{Image: appRef},
		Command:  []string{"app"},
	}
}

// runPod fails the test unless the pod runs.
func (r *rig) runPod(c *cri.PodSandboxConfig) (id string) {
	r.t.Helper()
	out, err := r.RunPodSandbox(r.t.Context(), &cri.RunPodSandboxRequest{Config: c})
	if err != nil {
		r.t.Fatalf("RunPodSandbox: %v", err)
	}
	return out.PodSandboxId
}

func (r *rig) createContainer(pod string, p *cri.PodSandboxConfig, c *cri.ContainerConfig) (id string) {
	r.t.Helper()
	out, err := r.CreateContainer(r.t.Context(), &cri.CreateContainerRequest{PodSandboxId: pod, Config: c, SandboxConfig: p})
	if err != nil {
		r.t.Fatalf("CreateContainer: %v", err)
	}
	return out.ContainerId
}

func (r *rig) startContainer(id string) {
	r.t.Helper()
	if _, err := r.StartContainer(r.t.Context(), &cri.StartContainerRequest{ContainerId: id}); err != nil {
		r.t.Fatalf("StartContainer: %v", err)
	}
}

// runContainer is a container that runs in a pod of its own.
func (r *rig) runContainer(pod *cri.PodSandboxConfig, c *cri.ContainerConfig) (sandboxID, containerID string) {
	r.t.Helper()
	sandboxID = r.runPod(pod)
	containerID = r.createContainer(sandboxID, pod, c)
	r.startContainer(containerID)
	return sandboxID, containerID
}

func (r *rig) containerStatus(id string) *cri.ContainerStatus {
	r.t.Helper()
	out, err := r.ContainerStatus(r.t.Context(), &cri.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		r.t.Fatalf("ContainerStatus: %v", err)
	}
	return out.Status
}

func (r *rig) sandboxStatus(id string) *cri.PodSandboxStatus {
	r.t.Helper()
	out, err := r.PodSandboxStatus(r.t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		r.t.Fatalf("PodSandboxStatus: %v", err)
	}
	return out.Status
}

// wantKind fails the test unless err is of the kind that is tells.
func wantKind(t *testing.T, err error, is func(error) bool) {
	t.Helper()
	if !is(err) {
		t.Errorf("error of another kind: %v", err)
	}
}

// wantCalls fails the test unless these methods of the engine were called, in
// any order, since the calls were last reset.
func (r *rig) wantCalls(methods ...string) {
	r.t.Helper()
	var got []string
	for _, c := range r.engine.Calls() {
		if c.Method != "Ping" { // the sign of life comes when it comes
			got = append(got, c.Method)
		}
	}
	slices.Sort(got)
	slices.Sort(methods)
	if !slices.Equal(got, methods) {
		r.t.Errorf("engine calls %v, want %v", got, methods)
	}
}

// fakeNetwork remembers who is attached, and fails on demand.
type fakeNetwork struct {
	mu       sync.Mutex
	attached map[string]network.Pod
	calls    []string
	// failAt makes the n-th call of Attach and Detach, counted from 1, fail:
	// before its effect, or with after, after it.
	failAt    int
	after     bool
	cancel    context.CancelFunc // called at failAt instead, where set
	collected [][]string
	checked   []string
	cidrs     []string
	status    error
	lost      bool // Holds says no
	dial      func(ctx context.Context, id string, port uint16) (net.Conn, error)
}

var errNetwork = errors.New("plugin failed")

// strike counts a call and runs its effect, before or after which it may fail.
func (n *fakeNetwork) strike(ctx context.Context, call string, effect func()) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, call)
	struck := len(n.calls) == n.failAt
	if struck && n.after || !struck {
		effect()
	}
	if !struck {
		return ctx.Err()
	}
	if n.cancel != nil {
		n.cancel()
		return ctx.Err()
	}
	return errNetwork
}

func (n *fakeNetwork) Attach(ctx context.Context, p network.Pod) ([]string, error) {
	// As the real one promises, a failed attach leaves nothing behind.
	if err := n.strike(ctx, "Attach", func() { n.attached[p.ID] = p }); err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.attached, p.ID)
		return nil, err
	}
	return n.Addresses(p.ID), nil
}

func (n *fakeNetwork) Detach(ctx context.Context, id string) error {
	return n.strike(ctx, "Detach", func() { delete(n.attached, id) })
}

func (n *fakeNetwork) Addresses(id string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.attached[id]; !ok {
		return nil
	}
	return []string{"192.0.2.7", "2001:db8::7"}
}

func (n *fakeNetwork) Holds(id string, _ int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.attached[id]
	return ok && !n.lost
}

func (n *fakeNetwork) Check(_ context.Context, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.checked = append(n.checked, id)
	return nil
}

func (n *fakeNetwork) Collect(_ context.Context, ids []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.collected = append(n.collected, ids)
	return nil
}

func (n *fakeNetwork) Status(context.Context) error { return n.status }

func (n *fakeNetwork) Describe() network.Description { return network.Description{} }

func (n *fakeNetwork) SetPodCIDRs(cidrs []string) error {
	if slices.Contains(cidrs, "nonsense") {
		return errdefs.ErrInvalidArgument
	}
	n.cidrs = cidrs
	return nil
}

// Dial connects to what the test has put there, for the node too.
func (n *fakeNetwork) Dial(ctx context.Context, id string, port uint16) (net.Conn, error) {
	if n.dial == nil {
		return nil, errNetwork
	}
	return n.dial(ctx, id, port)
}

func (n *fakeNetwork) DialNode(ctx context.Context, port uint16) (net.Conn, error) {
	return n.Dial(ctx, "", port)
}

// fakeStreams hands out URLs that lead nowhere.
type fakeStreams struct{ err error }

func (s *fakeStreams) ExecURL(*cri.ExecRequest) (string, error)     { return "http://exec", s.err }
func (s *fakeStreams) AttachURL(*cri.AttachRequest) (string, error) { return "http://attach", s.err }
func (s *fakeStreams) PortForwardURL(*cri.PortForwardRequest) (string, error) {
	return "http://portforward", s.err
}

// fakeLogs remembers whose logs are followed.
type fakeLogs struct {
	mu        sync.Mutex
	following map[string]logs.Container
	calls     []string
	refuse    error         // answer to Prepare
	finish    chan struct{} // where not nil, Finish waits for it
	waiting   atomic.Int64  // calls of Finish that have waited, or wait
}

func (l *fakeLogs) Prepare(logs.Container) error { return l.refuse }

func (l *fakeLogs) Follow(c logs.Container) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.following[c.ID] = c
}

func (l *fakeLogs) Nudge(string) {}

func (l *fakeLogs) Finish(ctx context.Context, c logs.Container) error {
	if l.finish != nil {
		l.waiting.Add(1)
		select {
		case <-l.finish:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.following, c.ID)
	l.calls = append(l.calls, "Finish "+c.ID)
	return nil
}

func (l *fakeLogs) Reopen(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, "Reopen "+id)
	return nil
}

func (l *fakeLogs) Remove(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.following, id)
	l.calls = append(l.calls, "Remove "+id)
	return nil
}

func (l *fakeLogs) Retain(context.Context, func(string) bool) error { return nil }

func (l *fakeLogs) Counts() logs.Counts { return logs.Counts{Following: len(l.ids())} }

func (l *fakeLogs) Trouble(string) error { return nil }

// done are the calls that have been answered, each "method id".
func (l *fakeLogs) done() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// followed is the container as it is followed.
func (l *fakeLogs) followed(id string) logs.Container {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.following[id]
}

// ids are the containers that are followed.
func (l *fakeLogs) ids() (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.following {
		ids = append(ids, id)
	}
	return ids
}

func (n *fakeNetwork) ids() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ids []string
	for id := range n.attached {
		ids = append(ids, id)
	}
	return ids
}
