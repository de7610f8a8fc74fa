// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestStreamURLs(t *testing.T) {
	r := newRig(t)
	sandbox, id := r.runContainer(podConfig("web"), containerConfig("app"))
	sh := []string{"sh"}
	exec := func(r0 *cri.ExecRequest) (string, error) {
		out, err := r.Exec(t.Context(), r0)
		return out.GetUrl(), err
	}
	attach := func(r0 *cri.AttachRequest) (string, error) {
		out, err := r.Attach(t.Context(), r0)
		return out.GetUrl(), err
	}
	forward := func(r0 *cri.PortForwardRequest) (string, error) {
		out, err := r.PortForward(t.Context(), r0)
		return out.GetUrl(), err
	}
	type answer struct {
		url string
		err error
	}
	of := func(url string, err error) answer { return answer{url, err} }
	for want, got := range map[string]answer{
		"http://exec":        of(exec(&cri.ExecRequest{ContainerId: id, Cmd: sh, Stdout: true})),
		"http://attach":      of(attach(&cri.AttachRequest{ContainerId: id, Stdout: true})),
		"http://portforward": of(forward(&cri.PortForwardRequest{PodSandboxId: sandbox, Port: []int32{80}})),
	} {
		if got.url != want || got.err != nil {
			t.Errorf("%q, %v; want %q", got.url, got.err, want)
		}
	}
	r.engine.Exit(id, 0)
	if err := r.refresh(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := r.StopPodSandbox(t.Context(), &cri.StopPodSandboxRequest{PodSandboxId: sandbox}); err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		got  answer
		kind func(error) bool
	}{
		"exec of nothing":      {of(exec(&cri.ExecRequest{Cmd: sh, Stdout: true})), errdefs.IsInvalidArgument},
		"exec without command": {of(exec(&cri.ExecRequest{ContainerId: id, Stdout: true})), errdefs.IsInvalidArgument},
		"exec of unknown":      {of(exec(&cri.ExecRequest{ContainerId: "ffff", Cmd: sh, Stdout: true})), errdefs.IsNotFound},
		"exec of ended":        {of(exec(&cri.ExecRequest{ContainerId: id, Cmd: sh, Stdout: true})), errdefs.IsFailedPrecondition},
		"attach for nothing":   {of(attach(&cri.AttachRequest{ContainerId: id})), errdefs.IsInvalidArgument},
		"attach to ended":      {of(attach(&cri.AttachRequest{ContainerId: id, Stdout: true})), errdefs.IsFailedPrecondition},
		"forward of port 0":    {of(forward(&cri.PortForwardRequest{PodSandboxId: sandbox, Port: []int32{0}})), errdefs.IsInvalidArgument},
		"forward of unknown":   {of(forward(&cri.PortForwardRequest{PodSandboxId: "ffff"})), errdefs.IsNotFound},
		"forward of stopped":   {of(forward(&cri.PortForwardRequest{PodSandboxId: sandbox})), errdefs.IsFailedPrecondition},
	} {
		if !test.kind(test.got.err) || test.got.url != "" {
			t.Errorf("%s: %q, %v", what, test.got.url, test.got.err)
		}
	}
}

// tcpPair are the two ends of a connection.
func tcpPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialled.Close()
		accepted.Close()
	})
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// halves is a client whose Close ends its writing half only, as a SPDY stream's.
type halves struct{ *net.TCPConn }

func (h halves) Close() error { return h.CloseWrite() }

// forwarding is a connection under way: what the client and the pod hold.
func (r *rig) forwarding(ctx context.Context, sandbox string) (client, pod *net.TCPConn, ended <-chan error) {
	r.t.Helper()
	client, stream := tcpPair(r.t)
	conn, pod := tcpPair(r.t)
	r.net.dial = func(_ context.Context, id string, port uint16) (net.Conn, error) {
		if id != sandbox && id != "" || port != 80 {
			return nil, errNetwork
		}
		return conn, nil
	}
	done := make(chan error, 1)
	go func() { done <- r.StreamPort(ctx, sandbox, 80, halves{stream}) }()
	return client, pod, done
}

func TestStreamPort(t *testing.T) {
	for _, config := range []*cri.PodSandboxConfig{podConfig("web"), hostNetworkPod("node")} {
		r := newRig(t)
		client, pod, ended := r.forwarding(t.Context(), r.runPod(config))
		if _, err := io.WriteString(client, "question"); err != nil {
			t.Fatal(err)
		}
		// The client's half ends first, and the answer comes all the same.
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(pod); string(text) != "question" || err != nil {
			t.Errorf("pod read %q, %v", text, err)
		}
		if _, err := io.WriteString(pod, "answer"); err != nil {
			t.Fatal(err)
		}
		pod.Close()
		if text, err := io.ReadAll(client); string(text) != "answer" || err != nil {
			t.Errorf("client read %q, %v", text, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// A pod that takes no more must not make its client's input pile up: other
// connections come by the same way.
func TestStreamPortDropsWhatNobodyTakes(t *testing.T) {
	r := newRig(t)
	client, pod, ended := r.forwarding(t.Context(), r.runPod(podConfig("web")))
	pod.Close()
	if _, err := io.ReadAll(client); err != nil {
		t.Error(err)
	}
	if _, err := client.Write(make([]byte, 32<<20)); err != nil {
		t.Errorf("the client is held up: %v", err)
	}
	client.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestStreamPortEndsWithClient(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	client, pod, ended := r.forwarding(ctx, r.runPod(podConfig("web")))
	cancel()
	client.Close()
	if _, err := io.ReadAll(pod); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestStreamPortRefused(t *testing.T) {
	r := newRig(t)
	sandbox := r.runPod(podConfig("web"))
	_, stream := tcpPair(t)
	r.net.dial = func(context.Context, string, uint16) (net.Conn, error) { return nil, errNetwork }
	if err := r.StreamPort(t.Context(), sandbox, 80, halves{stream}); !errors.Is(err, errNetwork) {
		t.Errorf("error %v", err)
	}
	if err := r.StreamPort(t.Context(), "ffff", 80, halves{stream}); !errdefs.IsNotFound(err) {
		t.Errorf("error %v", err)
	}
}
