// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"":                "127.0.0.1:0 http://127.0.0.1:99",
		"127.0.0.1":       "127.0.0.1:0 http://127.0.0.1:99",
		"10.0.0.1:10010":  "10.0.0.1:10010 http://10.0.0.1:99",
		":10010":          ":10010 http://127.0.0.1:99",
		"0.0.0.0:1":       "0.0.0.0:1 http://127.0.0.1:99",
		"::":              ":::0 http://127.0.0.1:99",
		"[::]:1":          ":::1 http://127.0.0.1:99",
		"::1":             "::1:0 http://[::1]:99",
		"[::1]":           "::1:0 http://[::1]:99",
		"[::1]:7":         "::1:7 http://[::1]:99",
		"[fe80::1%eth0]:": "",
		"fe80::1%eth0":    "fe80::1%eth0:0 http://[fe80::1%25eth0]:99",
		"node.local:7":    "node.local:7 http://node.local:99",
		"node.local":      "node.local:0 http://node.local:99",
		"1.2.3.4:65536":   "",
		"1.2.3.4:http":    "",
		"a:b:c":           "",
		"http://1.2.3.4":  "",
	} {
		c := Config{Addr: addr}
		host, port, err := c.hostPort()
		if (err != nil) != (want == "") || (c.Validate() != nil) != (want == "") {
			t.Errorf("%q: %q, %q, %v", addr, host, port, err)
			continue
		}
		base := baseURL(host, listeningAt("[::]:99"), false)
		if got := host + ":" + port + " " + base.String(); err == nil && got != want {
			t.Errorf("%q is %q, want %q", addr, got, want)
		}
	}
}

type listeningAt string

func (listeningAt) Network() string  { return "tcp" }
func (a listeningAt) String() string { return string(a) }

func TestValidateSaysAll(t *testing.T) {
	c := Config{Addr: "x:y", KeyFile: "k", ClientCAFile: "c", IdleTimeout: -1, CreationTimeout: -1, DrainTime: -1}
	err := c.Validate()
	if err == nil || len(strings.Split(err.Error(), "\n")) != 6 {
		t.Errorf("Validate: %v", err)
	}
	if s, err := New(c); err == nil {
		s.Close()
		t.Error("New accepts it")
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestDefaults(t *testing.T) {
	want := Config{IdleTimeout: 4 * time.Hour, CreationTimeout: 30 * time.Second, DrainTime: 10 * time.Second}
	if got := (Config{}).withDefaults(); got != want {
		t.Errorf("defaults are %+v", got)
	}
	want.DrainTime = 1
	if got := (Config{DrainTime: 1}).withDefaults(); got != want {
		t.Errorf("defaults are %+v", got)
	}
}

// TestNeverRun frees the address, and says what is wrong with one that is taken.
func TestNeverRun(t *testing.T) {
	noLeaks(t)
	s := must(New(Config{}))(t)
	if _, err := New(Config{Addr: s.Addr().String()}); err == nil || !strings.Contains(err.Error(), "port 0") {
		t.Errorf("a second server: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	must(New(Config{Addr: s.Addr().String()}))(t).Close()
}

func TestRequestsThatCannotBeServed(t *testing.T) {
	s := must(New(Config{}))(t)
	defer s.Close()
	for _, r := range []*cri.ExecRequest{{Stdin: true}, {ContainerId: "c"}, {ContainerId: "c", Tty: true}, {ContainerId: "c", Tty: true, Stderr: true}} {
		if _, err := s.ExecURL(r); !errdefs.IsInvalidArgument(err) {
			t.Errorf("exec %v: %v", r, err)
		}
		if _, err := s.AttachURL(&cri.AttachRequest{ContainerId: r.ContainerId, Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Tty: r.Tty}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("attach %v: %v", r, err)
		}
	}
	for _, r := range []*cri.PortForwardRequest{{}, {PodSandboxId: "s", Port: []int32{0}}, {PodSandboxId: "s", Port: []int32{65536}}, {PodSandboxId: "s", Port: make([]int32, 128)}} {
		if _, err := s.PortForwardURL(r); !errdefs.IsInvalidArgument(err) {
			t.Errorf("port-forward %v: %v", r, err)
		}
	}
}
