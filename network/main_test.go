// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// roleVariable makes the test binary, run again by a test, something else.
const roleVariable = "NETWORK_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv("CNI_COMMAND") != "" {
		os.Exit(pluginMain())
	}
	switch os.Getenv(roleVariable) {
	case "pause": // a process to hold a namespace, until its input ends
		pauseMain()
	case "attach": // a daemon that is killed while it attaches
		attachMain(newUnprivileged)
	case "attach for real":
		attachMain(New)
	}
	// With the race detector each of these processes would sleep for a second at its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// A node is a Network in directories of its own, with plugins that the test
// controls and, as mounts take privileges, with files in place of pinned
// namespaces.
type node struct {
	*Network
	*plugins
	config Config
}

func newNode(t *testing.T, change ...func(*Config)) *node {
	t.Helper()
	dir := t.TempDir()
	config := Config{
		ConfDir:  filepath.Join(dir, "net.d"),
		BinDirs:  []string{filepath.Join(dir, "bin")},
		CacheDir: filepath.Join(dir, "cache"),
		NetnsDir: filepath.Join(dir, "netns"),
	}
	for _, c := range change {
		c(&config)
	}
	for _, d := range []string{config.ConfDir, config.BinDirs[0], config.NetnsDir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n := &node{config: config, plugins: newPlugins(t, config.BinDirs[0])}
	n.writeConf("10-test.conflist", conflist("1.0.0", "main"))
	n.restart(t)
	return n
}

// restart replaces the Network by one that knows only what is on disk.
func (n *node) restart(t *testing.T) {
	t.Helper()
	var err error
	if n.Network, err = newUnprivileged(n.config); err != nil {
		t.Fatal(err)
	}
}

func newUnprivileged(c Config) (*Network, error) {
	n, err := New(c)
	if err == nil {
		n.netns = &plainPins{netnsDir: netnsDir{dir: c.NetnsDir}}
	}
	return n, err
}

func (n *node) writeConf(name, text string) {
	n.t.Helper()
	write(n.t, filepath.Join(n.config.ConfDir, name), text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// left lists what the node keeps of any sandbox.
func (n *node) left() []string {
	n.t.Helper()
	var all []string
	for _, pattern := range []string{
		filepath.Join(n.config.CacheDir, "*", "*"),
		filepath.Join(n.config.NetnsDir, "*"),
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			n.t.Fatal(err)
		}
		all = append(all, files...)
	}
	return all
}

func (n *node) wantNothingLeft(t *testing.T) {
	t.Helper()
	if left := n.left(); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, " "))
	}
}

func pod(id string) Pod {
	return Pod{ID: id, Namespace: "default", Name: "web", UID: "8b1e", PID: os.Getpid()}
}

func tcp(hostPort, containerPort int32) *cri.PortMapping {
	return &cri.PortMapping{HostPort: hostPort, ContainerPort: containerPort}
}

func prefixes(t *testing.T, cidrs ...string) []netip.Prefix {
	t.Helper()
	p, err := parsePodCIDRs(cidrs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// conflist is a configuration of fake plugins; each declares every capability.
func conflist(version string, plugins ...string) string {
	var list []string
	for _, p := range plugins {
		list = append(list, `{"type": "`+p+`", "capabilities": {"portMappings": true, "bandwidth": true, "ipRanges": true, "dns": true}}`)
	}
	return `{"cniVersion": "` + version + `", "name": "test", "plugins": [` + strings.Join(list, ",") + `]}`
}

// eventually waits until ok, which a file or another process makes so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited too long until %s", what)
		}
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

func wantEqual[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// plainPins is netnsDir without mounts.
type plainPins struct {
	netnsDir
	loopbackError error
}

func (p *plainPins) pin(id string, _ int) (string, error) {
	return p.file(id), os.WriteFile(p.file(id), nil, 0o644)
}

func (p *plainPins) unpin(id string) error {
	err := os.Remove(p.file(id))
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

func (p *plainPins) path(id string) string {
	if _, err := os.Stat(p.file(id)); err != nil {
		return ""
	}
	return p.file(id)
}

func (p *plainPins) raiseLoopback(string) error { return p.loopbackError }

// attachElsewhere runs Attach in another process, for the test to kill: with
// real pins in the role "attach for real", with plainPins in the role "attach".
func attachElsewhere(t *testing.T, role string, config Config, p Pod) *exec.Cmd {
	t.Helper()
	args, err := json.Marshal(attachArgs{config, p})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", string(args))
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

type attachArgs struct {
	Config Config
	Pod    Pod
}

// attachMain attaches and waits to be killed.
func attachMain(newNetwork func(Config) (*Network, error)) {
	var args attachArgs
	if err := json.Unmarshal([]byte(os.Args[1]), &args); err != nil {
		os.Exit(2)
	}
	n, err := newNetwork(args.Config)
	if err != nil {
		os.Exit(2)
	}
	if _, err := n.Attach(context.Background(), args.Pod); err != nil {
		os.Exit(3)
	}
	select {}
}
