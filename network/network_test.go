// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestAttachAndDetach(t *testing.T) {
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			n := newNode(t)
			n.writeConf("10-test.conflist", conflist(version, "main", "second"))
			n.restart(t)
			n.give("fd00::7/64", "10.1.2.3/24", "10.1.2.4/24")
			addresses, err := n.Attach(t.Context(), pod("s1"))
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"10.1.2.3", "10.1.2.4", "fd00::7"}
			wantEqual(t, "addresses", addresses, want)
			n.restart(t)
			wantEqual(t, "addresses after a restart", n.Addresses("s1"), want)
			wantEqual(t, "addresses of another", n.Addresses("s"), nil)
			wantEqual(t, "addresses of none", n.Addresses(""), nil)
			if err := n.Check(t.Context(), "s1"); err != nil {
				t.Error(err)
			}
			for range 2 { // the second time there is nothing to do
				if err := n.Detach(t.Context(), "s1"); err != nil {
					t.Error(err)
				}
			}
			n.wantNothingLeft(t)
			wantEqual(t, "addresses after detaching", n.Addresses("s1"), nil)
			order := []string{"ADD main s1", "ADD second s1", "CHECK main s1", "CHECK second s1", "DEL second s1", "DEL main s1"}
			if version == "0.3.1" { // has no CHECK
				order = append(order[:2:2], order[4:]...)
			}
			wantEqual(t, "calls", summary(n.calls()), order)
		})
	}
}

func TestWhatPluginsAreTold(t *testing.T) {
	n := newNode(t)
	p := pod("s1")
	p.PortMappings = []*cri.PortMapping{tcp(8080, 80), tcp(0, 81)}
	if _, err := n.Attach(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := n.Detach(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	for _, c := range n.calls() {
		if want := "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=s1;K8S_POD_UID=8b1e"; c.Args != want {
			t.Errorf("%s: args %s, want %s", c.Command, c.Args, want)
		}
		if want := filepath.Join(n.config.NetnsDir, "dockershimd-s1"); c.Netns != want {
			t.Errorf("%s: namespace %s, want %s", c.Command, c.Netns, want)
		}
		if c.IfName != "eth0" {
			t.Errorf("%s: interface %s", c.Command, c.IfName)
		}
		if got, want := fmt.Sprint(c.Stdin.RuntimeConfig), "map[portMappings:[map[containerPort:80 hostPort:8080 protocol:tcp]]]"; got != want {
			t.Errorf("%s: runtimeConfig %s, want %s", c.Command, got, want)
		}
		if hasResult := c.Stdin.PrevResult != nil; hasResult != (c.Command == "DEL") {
			t.Errorf("%s: previous result: %s", c.Command, c.Stdin.PrevResult)
		}
	}
}

func TestFailedAttachLeavesNothing(t *testing.T) {
	for _, behaviour := range []string{"fail", "crash", "garbage", "null", "nulls", "empty"} {
		for _, plugin := range []string{"main", "second"} {
			t.Run(behaviour+" "+plugin, func(t *testing.T) {
				n := newNode(t)
				n.writeConf("10-test.conflist", conflist("1.0.0", "main", "second"))
				n.restart(t)
				withdraw := n.behave(plugin, "ADD", behaviour)
				_, err := n.Attach(t.Context(), pod("s1"))
				wantError(t, err, "attach sandbox s1", "network test")
				n.wantNothingLeft(t)
				wantEqual(t, "undone by", summary(n.calls("DEL")), []string{"DEL second s1", "DEL main s1"})
				withdraw()
				if _, err := n.Attach(t.Context(), pod("s1")); err != nil {
					t.Errorf("the retry: %v", err)
				}
			})
		}
	}
}

func TestPluginErrorsAreKept(t *testing.T) {
	n := newNode(t)
	n.behave("main", "ADD", "fail")
	_, err := n.Attach(t.Context(), pod("s1"))
	wantError(t, err, "main refuses ADD")
	var e *types.Error
	if !errors.As(err, &e) || e.Code != types.ErrPluginNotAvailable {
		t.Errorf("error %v does not carry the plugin's code", err)
	}
	n.behave("main", "ADD", "crash")
	_, err = n.Attach(t.Context(), pod("s1"))
	wantError(t, err, "exit status 2", "out of ideas")
}

func TestFailedLoopbackLeavesNothing(t *testing.T) {
	n := newNode(t)
	n.netns.(*plainPins).loopbackError = errors.New("no such device")
	_, err := n.Attach(t.Context(), pod("s1"))
	wantError(t, err, "no such device")
	n.wantNothingLeft(t)
	wantEqual(t, "calls", summary(n.calls()), nil)
}

// An ADD and its DEL fail: what is needed for another DEL stays, the pin does not.
func TestFailedUndoIsCollected(t *testing.T) {
	n := newNode(t)
	n.behave("main", "ADD", "fail")
	withdraw := n.behave("main", "DEL", "fail")
	_, err := n.Attach(t.Context(), pod("s1"))
	wantError(t, err, "main refuses ADD", "and undoing it", "main refuses DEL")
	wantEqual(t, "left", n.left(), []string{filepath.Join(n.config.CacheDir, "attachments", "s1")})
	withdraw()
	n.restart(t)
	if err := n.Collect(t.Context(), nil); err != nil {
		t.Error(err)
	}
	n.wantNothingLeft(t)
}

func TestCancelledAttachIsUndone(t *testing.T) {
	n := newNode(t)
	n.behave("main", "ADD", "hang")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := n.Attach(ctx, pod("s1"))
		ended <- err
	}()
	eventually(t, "the plugin runs", func() bool { return len(n.calls("ADD")) == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	n.wantNothingLeft(t)
	calls := n.calls()
	wantEqual(t, "calls", summary(calls), []string{"ADD main s1", "DEL main s1"})
	if err := syscall.Kill(calls[0].PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the plugin lives on: %v", err)
	}
}

func TestRepeatedAttachStartsOver(t *testing.T) {
	n := newNode(t)
	for range 2 {
		if _, err := n.Attach(t.Context(), pod("s1")); err != nil {
			t.Fatal(err)
		}
	}
	wantEqual(t, "calls", summary(n.calls()), []string{"ADD main s1", "DEL main s1", "ADD main s1"})
}

func TestAttachRefuses(t *testing.T) {
	n := newNode(t)
	n.install("bridge")
	n.writeConf("10-test.conflist", `{"cniVersion": "1.0.0", "name": "test", "plugins": [{"type": "bridge"}]}`)
	n.restart(t)
	tests := []struct {
		name   string
		change func(*Pod)
		kind   error
		says   string
	}{
		{"an id that is a path", func(p *Pod) { p.ID = "../s1" }, errdefs.ErrInvalidArgument, "invalid characters"},
		{"a name that would be two arguments", func(p *Pod) { p.Name = "a;K8S_POD_NAMESPACE=b" }, errdefs.ErrInvalidArgument, "K8S_POD_NAME"},
		{"a bandwidth that is none", func(p *Pod) { p.Annotations = map[string]string{ingressAnnotation: "fast"} }, errdefs.ErrInvalidArgument, ingressAnnotation},
		{"a port beyond the range", func(p *Pod) { p.PortMappings = []*cri.PortMapping{tcp(70000, 80)} }, errdefs.ErrInvalidArgument, "70000"},
		{"a host port that nobody maps", func(p *Pod) { p.PortMappings = []*cri.PortMapping{tcp(8080, 80)} }, errdefs.ErrFailedPrecondition, "add portmap"},
	}
	for _, test := range tests {
		p := pod("s1")
		test.change(&p)
		_, err := n.Attach(t.Context(), p)
		if !errors.Is(err, test.kind) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.kind)
		}
		wantError(t, err, test.says)
	}
	n.wantNothingLeft(t)
	wantEqual(t, "calls", summary(n.calls()), nil)
}

func TestAttachWithoutConfiguration(t *testing.T) {
	n := newNode(t)
	if err := os.Remove(filepath.Join(n.config.ConfDir, "10-test.conflist")); err != nil {
		t.Fatal(err)
	}
	n.restart(t)
	_, err := n.Attach(t.Context(), pod("s1"))
	wantError(t, err, "no CNI configuration in "+n.config.ConfDir, "--network-default=bridge")
	if !errdefs.IsUnavailable(err) {
		t.Errorf("error %v is not Unavailable", err)
	}
	n.wantNothingLeft(t)
}

// Neither the file nor the namespace is needed to detach.
func TestDetachWithEverythingGone(t *testing.T) {
	n := newNode(t)
	if _, err := n.Attach(t.Context(), pod("s1")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(n.config.ConfDir, "10-test.conflist"), n.Path("s1")} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	n.restart(t)
	if err := n.Detach(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	n.wantNothingLeft(t)
	dels := n.calls("DEL")
	if len(dels) != 1 || dels[0].Netns != "" || dels[0].Stdin.PrevResult == nil {
		t.Errorf("DEL: got %+v, want one without namespace and with the result", dels)
	}
}

func TestDetachOfUnknown(t *testing.T) {
	n := newNode(t)
	for _, id := range []string{"s1", "../../etc", ""} {
		if err := n.Detach(t.Context(), id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	wantEqual(t, "calls", summary(n.calls()), nil)
}

func TestDetachFailsThenSucceeds(t *testing.T) {
	n := newNode(t)
	if _, err := n.Attach(t.Context(), pod("s1")); err != nil {
		t.Fatal(err)
	}
	withdraw := n.behave("main", "DEL", "fail")
	wantError(t, n.Detach(t.Context(), "s1"), "detach sandbox s1", "main refuses DEL")
	if n.Path("s1") == "" || n.Addresses("s1") == nil {
		t.Error("a failed Detach dropped the pin or the result")
	}
	withdraw()
	if err := n.Detach(t.Context(), "s1"); err != nil {
		t.Error(err)
	}
	n.wantNothingLeft(t)
}

// libcni drops a cached entry whose result it cannot read, before it runs DEL.
func TestDetachWithBrokenCache(t *testing.T) {
	n := newNode(t)
	if _, err := n.Attach(t.Context(), pod("s1")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(n.config.CacheDir, "results", "test-s1-eth0"), `{"kind": "cniCa`)
	withdraw := n.behave("main", "DEL", "fail")
	if err := n.Detach(t.Context(), "s1"); err == nil {
		t.Error("Detach succeeded although the plugin failed")
	}
	withdraw()
	if err := n.Detach(t.Context(), "s1"); err != nil {
		t.Error(err)
	}
	wantEqual(t, "calls", summary(n.calls("DEL")), []string{"DEL main s1", "DEL main s1", "DEL main s1"})
	n.wantNothingLeft(t)
}

func TestDetachGivesUpAndCollectGoesOn(t *testing.T) {
	n := newNode(t)
	n.limits.abandon = 50 * time.Millisecond
	if _, err := n.Attach(t.Context(), pod("s1")); err != nil {
		t.Fatal(err)
	}
	plugin := filepath.Join(n.config.BinDirs[0], "main")
	if err := os.Remove(plugin); err != nil {
		t.Fatal(err)
	}
	if err := n.Detach(t.Context(), "s1"); err == nil {
		t.Error("the first failure is not reported")
	}
	eventually(t, "Detach gives up", func() bool { return n.Detach(t.Context(), "s1") == nil })
	if n.Path("s1") != "" {
		t.Error("the pin is still there")
	}
	wantError(t, n.Collect(t.Context(), nil), "collect sandbox s1", `"main"`)
	n.install("main")
	if err := n.Detach(t.Context(), "s1"); err != nil {
		t.Errorf("Detach after giving up: %v", err)
	}
	wantEqual(t, "calls after giving up", summary(n.calls("DEL")), nil)
	if err := n.Collect(t.Context(), nil); err != nil {
		t.Error(err)
	}
	n.wantNothingLeft(t)
	if len(n.failing) > 0 {
		t.Errorf("still remembers %v", n.failing)
	}
}

func TestHangingDetachHasALimit(t *testing.T) {
	n := newNode(t)
	n.limits.del = 100 * time.Millisecond
	if _, err := n.Attach(t.Context(), pod("s1")); err != nil {
		t.Fatal(err)
	}
	n.behave("main", "DEL", "hang")
	if err := n.Detach(t.Context(), "s1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want a deadline", err)
	}
}

// The daemon is killed while a plugin runs, before libcni has cached anything.
func TestKilledBetweenRecordAndCache(t *testing.T) {
	for _, by := range []string{"Detach", "Collect"} {
		t.Run(by, func(t *testing.T) {
			n := newNode(t)
			n.behave("main", "ADD", "hang")
			p := pod("s1")
			p.PortMappings = []*cri.PortMapping{tcp(8080, 80)}
			daemon := attachElsewhere(t, "attach", n.config, p)
			eventually(t, "the plugin runs", func() bool { return len(n.calls("ADD")) == 1 })
			kill(daemon)
			eventually(t, "the plugin is gone", func() bool { return gone(n.calls("ADD")[0].PID) })
			if _, err := os.Stat(filepath.Join(n.config.CacheDir, "results")); err == nil {
				t.Fatal("the result is cached: the test proves nothing")
			}
			n.restart(t)
			if by == "Detach" {
				if err := n.Detach(t.Context(), "s1"); err != nil {
					t.Error(err)
				}
			} else if err := n.Collect(t.Context(), nil); err != nil {
				t.Error(err)
			}
			n.wantNothingLeft(t)
			calls := n.calls()
			wantEqual(t, "calls", summary(calls), []string{"ADD main s1", "DEL main s1"})
			if add, del := calls[0], calls[1]; fmt.Sprint(add.Stdin.RuntimeConfig) != fmt.Sprint(del.Stdin.RuntimeConfig) || add.Args != del.Args {
				t.Errorf("ADD %+v and DEL %+v differ in their arguments", add, del)
			}
		})
	}
}

// Addresses is asked of sandboxes that come and go.
func TestAddressesBesideDetach(t *testing.T) {
	n := newNode(t)
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				n.Addresses("s1")
			}
		}
	})
	for range 20 {
		attached(t, n, "s1")
		if err := n.Detach(t.Context(), "s1"); err != nil {
			t.Error(err)
		}
	}
	close(done)
	reader.Wait()
	if _, err := resultAddresses(nil); err == nil {
		t.Error("no result is no error")
	}
}

// An older shim left two entries in libcni's cache and no record.
func TestAdoptedPod(t *testing.T) {
	n := newNode(t)
	n.install("loopback")
	results := filepath.Join(n.config.CacheDir, "results")
	if err := os.MkdirAll(results, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mynet-f00d-eth0", "cni-loopback-f00d-lo"} {
		text, err := os.ReadFile(filepath.Join("testdata", "cri-dockerd", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(results, name), string(text))
	}
	wantEqual(t, "addresses", n.Addresses("f00d"), []string{"10.85.0.9"})
	if err := n.Collect(t.Context(), []string{"f00d"}); err != nil {
		t.Error(err)
	}
	wantEqual(t, "calls for an existing sandbox", summary(n.calls("DEL")), nil)
	if err := n.Detach(t.Context(), "f00d"); err != nil {
		t.Fatal(err)
	}
	n.wantNothingLeft(t)
	calls := n.calls("DEL")
	wantEqual(t, "calls", summary(calls), []string{"DEL loopback f00d", "DEL main f00d"})
	for _, c := range calls {
		if c.Netns != "" { // the pid in the cached path is not the sandbox's
			t.Errorf("DEL %s would act on %s", c.Plugin, c.Netns)
		}
	}
	if got := fmt.Sprint(calls[1].Stdin.RuntimeConfig["portMappings"]); !strings.Contains(got, "hostPort:8080") {
		t.Errorf("DEL has port mappings %s, want those of the ADD", got)
	}
}

func TestSlowPodDelaysNoOther(t *testing.T) {
	n := newNode(t)
	release := n.hold("main", "ADD", "slow")
	slow := make(chan error, 1)
	go func() {
		_, err := n.Attach(context.WithoutCancel(t.Context()), pod("slow"))
		slow <- err
	}()
	eventually(t, "the slow plugin runs", func() bool { return len(n.calls("ADD")) == 1 })
	var pods sync.WaitGroup
	for i := range 20 {
		pods.Go(func() {
			id := fmt.Sprintf("s%d", i)
			if _, err := n.Attach(t.Context(), pod(id)); err != nil {
				t.Error(err)
			}
			if err := n.Detach(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
	pods.Wait()
	select {
	case err := <-slow:
		t.Errorf("the slow pod was not slow: %v", err)
	default:
	}
	release()
	if err := <-slow; err != nil {
		t.Error(err)
	}
	if err := n.Detach(t.Context(), "slow"); err != nil {
		t.Error(err)
	}
	n.wantNothingLeft(t)
}

// Detach waits for the Attach of the same sandbox, as long as its caller wants.
func TestSameSandboxTakesTurns(t *testing.T) {
	n := newNode(t)
	release := n.hold("main", "ADD", "s1")
	attached := make(chan error, 1)
	go func() {
		_, err := n.Attach(context.WithoutCancel(t.Context()), pod("s1"))
		attached <- err
	}()
	eventually(t, "the plugin runs", func() bool { return len(n.calls("ADD")) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := n.Detach(ctx, "s1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want a deadline", err)
	}
	release()
	if err := <-attached; err != nil {
		t.Error(err)
	}
	if err := n.Detach(t.Context(), "s1"); err != nil {
		t.Error(err)
	}
	wantEqual(t, "calls", summary(n.calls()), []string{"ADD main s1", "DEL main s1"})
}

func TestCheck(t *testing.T) {
	n := newNode(t)
	if err := n.Check(t.Context(), "s1"); !errdefs.IsNotFound(err) {
		t.Errorf("not attached: error %v, want NotFound", err)
	}
	if _, err := n.Attach(t.Context(), pod("s1")); err != nil {
		t.Fatal(err)
	}
	n.behave("main", "CHECK", "fail")
	wantError(t, n.Check(t.Context(), "s1"), "check sandbox s1", "main refuses CHECK")
	if err := os.Remove(n.Path("s1")); err != nil {
		t.Fatal(err)
	}
	wantError(t, n.Check(t.Context(), "s1"), "namespace is gone")
}

func TestCheckCanBeDisabled(t *testing.T) {
	n := newNode(t)
	n.writeConf("10-test.conflist", `{"cniVersion": "1.0.0", "name": "test", "disableCheck": true, "plugins": [{"type": "main"}]}`)
	n.restart(t)
	if _, err := n.Attach(t.Context(), pod("s1")); err != nil {
		t.Fatal(err)
	}
	n.behave("main", "CHECK", "fail")
	if err := n.Check(t.Context(), "s1"); err != nil {
		t.Error(err)
	}
}

func TestStatus(t *testing.T) {
	n := newNode(t)
	n.behave("main", "STATUS", "fail")
	if err := n.Status(t.Context()); err != nil {
		t.Errorf("CNI 1.0.0 has no STATUS: %v", err)
	}
	n.writeConf("10-test.conflist", conflist("1.1.0", "main"))
	n.restart(t)
	wantError(t, n.Status(t.Context()), "network test", "main refuses STATUS")

	n.limits.status = 50 * time.Millisecond
	n.behave("main", "STATUS", "hang")
	if err := n.Status(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hanging plugin: error %v, want a deadline", err)
	}
	n.writeConf("10-test.conflist", conflist("1.1.0", "main", "absent"))
	n.restart(t)
	wantError(t, n.Status(t.Context()), "CNI plugin absent not found in "+n.config.BinDirs[0])
}

func TestValidateReportsAll(t *testing.T) {
	err := Config{ConfDir: "net.d", NetnsDir: "netns", Default: "kubenet", PodCIDRs: []string{"10.0.0.0/8", "10.1.0.0/16", "x"}}.Validate()
	wantError(t, err, `"net.d"`, `"netns"`, "no directory of CNI plugins", `"kubenet"`, "one per address family", `"x"`)
	if _, err := New(Config{}); err == nil {
		t.Error("New takes an empty Config")
	}
}

// As Debian's bridge plugin does after an ADD that was cut off.
func TestDelThatSucceedsTheSecondTime(t *testing.T) {
	n := newNode(t)
	if _, err := n.Attach(t.Context(), pod("s1")); err != nil {
		t.Fatal(err)
	}
	n.behave("main", "DEL", "fail once")
	if err := n.Detach(t.Context(), "s1"); err != nil {
		t.Error(err)
	}
	n.wantNothingLeft(t)
}
