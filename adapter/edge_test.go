// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestCodes(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code codes.Code
	}{
		{nil, codes.OK},
		{fmt.Errorf("create: %w", errdefs.ErrNotFound), codes.NotFound},
		{fmt.Errorf("create: %w", errdefs.ErrInvalidArgument), codes.InvalidArgument},
		{errdefs.ErrConflict, codes.FailedPrecondition},
		{errdefs.ErrAlreadyExists, codes.AlreadyExists},
		{errdefs.ErrUnavailable, codes.Unavailable},
		{errdefs.ErrNotImplemented, codes.Unimplemented},
		{errdefs.ErrUnauthenticated, codes.Unauthenticated},
		{context.Canceled, codes.Canceled},
		{fmt.Errorf("the engine said %w: %w", errdefs.ErrInternal, context.DeadlineExceeded), codes.DeadlineExceeded},
		{status.Error(codes.Unimplemented, "not implemented"), codes.Unimplemented},
		{errors.New("of no kind"), codes.Unknown},
	} {
		if got := status.Code(coded(tt.err)); got != tt.code {
			t.Errorf("%v is %s, want %s", tt.err, got, tt.code)
		}
	}
}

// The code belongs to the first cause, whatever happens in the rollback.
func TestUndo(t *testing.T) {
	var order []string
	var u undo
	u.add("first", func(context.Context) error { order = append(order, "first"); return nil })
	u.add("second", func(ctx context.Context) error {
		order = append(order, "second")
		return errors.Join(errdefs.ErrNotFound, ctx.Err())
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := fmt.Errorf("attach: %w", errdefs.ErrUnavailable)
	u.onError(ctx, &err)
	if strings.Join(order, " ") != "second first" {
		t.Errorf("order %v", order)
	}
	if !errdefs.IsUnavailable(err) || errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "second") {
		t.Errorf("error %v", err)
	}
	err, order = nil, nil
	u.onError(ctx, &err)
	if len(order) > 0 {
		t.Error("taken back without an error")
	}
}

func TestPodLocks(t *testing.T) {
	var l podLocks
	a, b := podKey{uid: "a"}, podKey{uid: "b"}
	unlockA, err := l.lock(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if unlockB, err := l.lock(t.Context(), b); err != nil {
		t.Error("one pod's lock held up another's")
	} else {
		unlockB()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(ctx, a); !errors.Is(err, context.Canceled) {
		t.Errorf("waited past its context: %v", err)
	}
	unlockA()
	again, err := l.lock(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	again()
	if len(l.locks) > 0 {
		t.Errorf("locks kept: %v", l.locks)
	}
}

func TestCallsBeforeTheEngineAnswers(t *testing.T) {
	r := newRig(t)
	r.synced = make(chan struct{})
	call := func(ctx context.Context, method string) error {
		answered := func(context.Context, any) (any, error) { return nil, nil }
		_, err := r.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/runtime.v1.RuntimeService/" + method}, answered)
		return err
	}
	if err := call(t.Context(), "Status"); err != nil {
		t.Error(err)
	}
	impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := call(impatient, "ListContainers"); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("an empty list was given as truth: %v", err)
	}
	soon := time.AfterFunc(10*time.Millisecond, func() { close(r.synced) })
	defer soon.Stop()
	if err := call(t.Context(), "ListContainers"); err != nil {
		t.Errorf("a call at start-up was refused: %v", err)
	}
}

func TestEngineThatIsNeverReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{synced: make(chan struct{})}
		s.health.setFollowing(errors.New("connection refused"))
		err := s.ready(t.Context())
		wantKind(t, err, errdefs.IsUnavailable)
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("error does not say why: %v", err)
		}
	})
}

func TestStatus(t *testing.T) {
	r := newRig(t)
	r.health.setFollowing(nil)
	r.net.status = errors.New("no configuration: put one there")
	if c := r.condition(cri.NetworkReady); c.Status || !strings.Contains(c.Message, "put one there") {
		t.Errorf("condition %v", c)
	}
	if c := r.condition(cri.RuntimeReady); !c.Status {
		t.Errorf("condition %v", c)
	}
	out, err := r.Status(t.Context(), &cri.StatusRequest{Verbose: true})
	if err != nil || out.Info["engine"] == "" || out.RuntimeHandlers[0].Name != "" {
		t.Errorf("%v, %v", out, err)
	}
	r.node.Store(nil) // never connected
	if _, err := r.Status(t.Context(), &cri.StatusRequest{Verbose: true}); err != nil {
		t.Error(err)
	}
}

func TestUpdateRuntimeConfig(t *testing.T) {
	r := newRig(t)
	update := func(cidr string) error {
		_, err := r.UpdateRuntimeConfig(t.Context(), &cri.UpdateRuntimeConfigRequest{
			RuntimeConfig: &cri.RuntimeConfig{NetworkConfig: &cri.NetworkConfig{PodCidr: cidr}},
		})
		return err
	}
	if err := update("10.1.0.0/24, fd00::/64"); err != nil || len(r.net.cidrs) != 2 {
		t.Errorf("%v, %v", r.net.cidrs, err)
	}
	if err := update(""); err != nil || len(r.net.cidrs) != 2 {
		t.Errorf("%v, %v", r.net.cidrs, err)
	}
	wantKind(t, update("nonsense"), errdefs.IsInvalidArgument)
}

func TestRuntimeConfig(t *testing.T) {
	r := newRig(t)
	for driver, want := range map[string]cri.CgroupDriver{"systemd": cri.CgroupDriver_SYSTEMD, "cgroupfs": cri.CgroupDriver_CGROUPFS} {
		r.node.Load().CgroupDriver = driver
		out, err := r.RuntimeConfig(t.Context(), &cri.RuntimeConfigRequest{})
		if err != nil || out.Linux.CgroupDriver != want {
			t.Errorf("%s: %v, %v", driver, out, err)
		}
	}
	r.node.Load().CgroupDriver = "none"
	_, err := r.RuntimeConfig(t.Context(), &cri.RuntimeConfigRequest{})
	wantKind(t, err, errdefs.IsFailedPrecondition)
}

func TestReaders(t *testing.T) {
	if !polls("PodSandboxStatus") || !polls("ExecSync") || polls("Exec") || polls("StopContainer") {
		t.Error("what kubelets do all the time and what they do now and then are mixed up")
	}
}

func TestEffectiveCapabilities(t *testing.T) {
	caps, err := effectiveCapabilities("Name:\tdockerd\nCapEff:\t000001fffeffffff\n")
	if err != nil || caps&(1<<24) != 0 || caps&1 == 0 {
		t.Errorf("%x, %v", caps, err)
	}
	if _, err := effectiveCapabilities("Name:\tx\n"); err == nil {
		t.Error("a status without capabilities passes")
	}
}

func TestOOMScoreModes(t *testing.T) {
	r := newRig(t)
	for mode, want := range map[string]int{OOMScoreExact: -1000, OOMScoreClamp: 0, OOMScoreAuto: -1000} {
		r.Server.config.OOMScoreAdj = mode // auto finds no engine process here
		if got := r.oomScoreFloor(); got != want {
			t.Errorf("%s: %d, want %d", mode, got, want)
		}
	}
	if err := (Config{PauseImage: "", OOMScoreAdj: "maybe", PullProgressDeadline: -1}).Validate(); err == nil || len(strings.Split(err.Error(), "\n")) != 3 {
		t.Errorf("not all problems at once: %v", err)
	}
}
