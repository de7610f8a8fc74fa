// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A realNode runs the CNI project's plugins in namespaces of the test's own.
type realNode struct {
	*Network
	*plugins // to put beside the real ones
	t        *testing.T
	config   Config
}

// newRealNode returns nil outside of the namespaces.
func newRealNode(t *testing.T, cidrs ...string) *realNode {
	t.Helper()
	var pluginDir string
	for _, dir := range []string{"/opt/cni/bin", "/usr/lib/cni"} {
		if has(dir, "bridge", "host-local", "portmap", "firewall") {
			pluginDir = dir
		}
	}
	if pluginDir == "" {
		t.Skip("needs the CNI plugins bridge, host-local, portmap and firewall (containernetworking-plugins)")
	}
	if _, err := exec.LookPath("iptables"); err != nil {
		t.Skip("needs iptables, for portmap:", err)
	}
	if !inNamespaces(t) {
		return nil
	}
	dir := t.TempDir()
	n := &realNode{t: t, plugins: newPlugins(t, t.TempDir())}
	n.config = Config{
		ConfDir:  filepath.Join(dir, "net.d"),
		BinDirs:  []string{pluginDir, n.plugins.dir},
		CacheDir: "/var/lib/cni/cache",
		Default:  DefaultBridge,
		PodCIDRs: cidrs,
	}
	n.restart()
	return n
}

func has(dir string, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err != nil
	})
}

func (n *realNode) restart() {
	n.t.Helper()
	var err error
	if n.Network, err = New(n.config); err != nil {
		n.t.Fatal(err)
	}
	if err := n.Status(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

// start attaches a pause process that serves on port 80.
func (n *realNode) start(id string, ports ...*cri.PortMapping) (*exec.Cmd, []string) {
	n.t.Helper()
	process := pause(n.t, syscall.CLONE_NEWNET)
	p := pod(id)
	p.PID, p.PortMappings = process.Process.Pid, ports
	addresses, err := n.Attach(n.t.Context(), p)
	if err != nil {
		n.t.Fatal(err)
	}
	return process, addresses
}

func (n *realNode) stop(id string) {
	n.t.Helper()
	if err := n.Detach(n.t.Context(), id); err != nil {
		n.t.Error(err)
	}
}

// warmUp lets the plugins make what they never remove: the bridge, their chains.
func (n *realNode) warmUp() (state string) {
	n.t.Helper()
	process, _ := n.start("warm", tcp(1, 1))
	n.stop("warm")
	kill(process)
	return n.state()
}

// state is all that plugins and we may leave: links, firewall rules, reserved
// addresses, cache, records, pins.
func (n *realNode) state() string {
	n.t.Helper()
	var s []string
	links, err := netlink.LinkList()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, l := range links {
		s = append(s, "link "+l.Attrs().Name)
	}
	for _, command := range []string{"iptables-save", "ip6tables-save"} {
		out, err := exec.Command(command, "-t", "nat").Output()
		if err != nil {
			n.t.Fatal(err)
		}
		for _, line := range strings.Split(string(out), "\n") {
			if line != "" && !strings.HasPrefix(line, "#") {
				s = append(s, command+" "+counters.ReplaceAllString(line, ""))
			}
		}
	}
	for _, pattern := range []string{"/var/lib/cni/networks/*/*[.:]*[0-9a-f]", "/var/lib/cni/cache/*/*", "/run/netns/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			n.t.Fatal(err)
		}
		s = append(s, files...)
	}
	slices.Sort(s)
	return strings.Join(s, "\n")
}

var counters = regexp.MustCompile(` \[[0-9:]*\]`)

func (n *realNode) wantState(want string) {
	n.t.Helper()
	if got := n.state(); got != want {
		n.t.Errorf("left behind, got:\n%s\n\nwant:\n%s", got, want)
	}
}

// wantHello tries again for a while: the bridge checks its IPv6 address for
// duplicates first, each time it gets a port, and cannot use it meanwhile.
func wantHello(t *testing.T, host, port string) {
	t.Helper()
	eventually(t, host+" port "+port+" answers", func() bool {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 200*time.Millisecond)
		if err != nil {
			return false
		}
		defer c.Close()
		text := make([]byte, 5)
		_, err = c.Read(text)
		return err == nil && string(text) == "hello"
	})
}

func TestRealPod(t *testing.T) {
	n := newRealNode(t, "10.89.0.0/24", "fd00:89::/64")
	if n == nil {
		return
	}
	clean := n.warmUp()
	process, addresses := n.start("s1", tcp(8080, 80))
	if len(addresses) != 2 || !strings.HasPrefix(addresses[0], "10.89.0.") || !strings.HasPrefix(addresses[1], "fd00:89::") {
		t.Fatalf("addresses %v, want one of each range, IPv4 first", addresses)
	}
	wantEqual(t, "addresses from the cache", n.Addresses("s1"), addresses)
	for _, a := range addresses {
		wantHello(t, a, "80")
	}
	wantHello(t, "10.89.0.1", "8080")
	wantHello(t, "fd00:89::1", "8080")
	wantNamespace(t, n.Path("s1"), process.Process.Pid)
	if links := must(handle(t, n.Path("s1")).LinkList()); len(links) < 2 || links[0].Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("links in the pod: %v, want lo, up, and eth0", links)
	}
	// The namespace outlives the pause process, so DEL can tidy up inside.
	kill(process)
	if _, err := handle(t, n.Path("s1")).LinkByName("eth0"); err != nil {
		t.Errorf("after the end of the pause process: %v", err)
	}
	n.stop("s1")
	n.wantState(clean)
	n.stop("s1")
}

func TestRealDetachAfterRestartWithoutConfiguration(t *testing.T) {
	n := newRealNode(t)
	if n == nil {
		return
	}
	if err := os.Mkdir(n.config.ConfDir, 0o755); err != nil {
		t.Fatal(err)
	}
	n.restart()
	write(t, filepath.Join(n.config.ConfDir, "10-file.conflist"), string(must(n.inUse()).Bytes))
	n.restart()
	if n.Describe().File == "" {
		t.Fatal("the file is not in use")
	}
	clean := n.warmUp()
	n.start("s1", tcp(8080, 80))
	if err := os.RemoveAll(n.config.ConfDir); err != nil {
		t.Fatal(err)
	}
	n.config.Default = ""
	n.Network = must(New(n.config))
	n.stop("s1")
	n.wantState(clean)
}

func TestRealCheck(t *testing.T) {
	n := newRealNode(t)
	if n == nil {
		return
	}
	if err := os.Mkdir(n.config.ConfDir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(n.config.ConfDir, "10-bridge.conf"), `{"cniVersion": "0.4.0", "name": "test", "type": "bridge",
		"bridge": "test0", "isGateway": true, "ipam": {"type": "host-local", "subnet": "10.89.1.0/24"}}`)
	n.restart()
	n.start("s1")
	if err := n.Check(t.Context(), "s1"); err != nil {
		t.Error(err)
	}
	h := handle(t, n.Path("s1"))
	if err := h.LinkDel(must(h.LinkByName("eth0"))); err != nil {
		t.Fatal(err)
	}
	wantError(t, n.Check(t.Context(), "s1"), "check sandbox s1", "network test", "eth0")
	n.stop("s1")
}

// With the namespace gone the plugins free what is outside of it. The bridge
// plugin before 1.2 forgets its masquerading then.
func TestRealDetachWithoutNamespace(t *testing.T) {
	n := newRealNode(t)
	if n == nil {
		return
	}
	clean := n.warmUp()
	process, _ := n.start("s1", tcp(8080, 80))
	kill(process)
	if err := n.netns.unpin("s1"); err != nil {
		t.Fatal(err)
	}
	n.stop("s1")
	var left []string
	for _, line := range strings.Split(n.state(), "\n") {
		if !strings.Contains(line, "dockershimd\\\" id: \\\"s1") && !masqueradeChain.MatchString(line) {
			left = append(left, line)
		}
	}
	wantEqual(t, "left", left, strings.Split(clean, "\n"))
}

var masqueradeChain = regexp.MustCompile(`CNI-[0-9a-f]{24}`)

// As after a kill between ADD and libcni's writing of its cache.
func TestRealCollectOfACutShortAttach(t *testing.T) {
	n := newRealNode(t)
	if n == nil {
		return
	}
	clean := n.warmUp()
	n.start("s1", tcp(8080, 80))
	if err := os.RemoveAll("/var/lib/cni/cache/results"); err != nil {
		t.Fatal(err)
	}
	n.restart()
	if n.Addresses("s1") != nil {
		t.Fatal("the result is still cached: the test proves nothing")
	}
	if err := n.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	n.wantState(clean)
}

// Killed at any moment of an Attach, before, while and after plugins run, we free
// everything after the restart. It may take two tries: the bridge plugin of
// Debian 12 fails once over a masquerading that ADD had not come to.
func TestRealKilledAnywhere(t *testing.T) {
	n := newRealNode(t)
	if n == nil {
		return
	}
	clean := n.warmUp()
	p := pod("")
	p.PID, p.PortMappings = pause(t, syscall.CLONE_NEWNET).Process.Pid, []*cri.PortMapping{tcp(8080, 80)}
	for i := range 20 {
		p.ID = fmt.Sprintf("s%d", i)
		daemon := attachElsewhere(t, "attach for real", n.config, p)
		<-time.After(time.Duration(i) * 8 * time.Millisecond)
		kill(daemon)
		t.Logf("%s: %d left", p.ID, strings.Count(n.state(), "\n")-strings.Count(clean, "\n"))
		n.restart()
		err := n.Collect(t.Context(), nil)
		if err != nil {
			t.Log(err)
			err = n.Collect(t.Context(), nil)
		}
		if err != nil {
			t.Error(err)
		}
		n.wantState(clean)
	}
}

// The last plugin of the chain fails: what the real ones did is undone.
func TestRealFailedAttach(t *testing.T) {
	n := newRealNode(t)
	if n == nil {
		return
	}
	clean := n.warmUp()
	n.chain("main")
	n.behave("main", "ADD", "fail")
	p := pod("s1")
	p.PID, p.PortMappings = pause(t, syscall.CLONE_NEWNET).Process.Pid, []*cri.PortMapping{tcp(8080, 80)}
	_, err := n.Attach(t.Context(), p)
	wantError(t, err, "main refuses ADD")
	n.wantState(clean)
}

// chain adds a fake plugin to the built-in configuration.
func (n *realNode) chain(plugin string) {
	n.t.Helper()
	text := strings.Replace(string(must(n.inUse()).Bytes), `"plugins":[`, `"plugins":[{"type":"`+plugin+`","ipam":{}},`, 1)
	// Plugins run in order, and the fake one passes on what it gets.
	text = regexp.MustCompile(`"plugins":\[(\{[^}]*\}\}),(.*)\]`).ReplaceAllString(text, `"plugins":[$2,$1]`)
	if err := os.MkdirAll(n.config.ConfDir, 0o755); err != nil {
		n.t.Fatal(err)
	}
	write(n.t, filepath.Join(n.config.ConfDir, "10-chain.conflist"), text)
	n.restart()
	wantEqual(n.t, "chain", n.Describe().Plugins, []string{"bridge", "portmap", "firewall", plugin})
}

func TestRealPodsAtOnceWithASlowOne(t *testing.T) {
	n := newRealNode(t)
	if n == nil {
		return
	}
	clean := n.warmUp()
	n.chain("main")
	release := n.hold("main", "ADD", "slow")
	var slow sync.WaitGroup
	slow.Go(func() {
		p := pod("slow")
		p.PID = pause(t, syscall.CLONE_NEWNET).Process.Pid
		if _, err := n.Attach(context.WithoutCancel(t.Context()), p); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the slow plugin runs", func() bool { return len(n.calls("ADD")) == 1 })

	const pods = 20
	processes := make([]*exec.Cmd, pods)
	for i := range processes {
		processes[i] = pause(t, syscall.CLONE_NEWNET)
	}
	var mu sync.Mutex
	owner := map[string]string{}
	var all sync.WaitGroup
	start := time.Now()
	for i, process := range processes {
		all.Go(func() {
			p := pod(fmt.Sprintf("s%d", i))
			p.PID, p.PortMappings = process.Process.Pid, []*cri.PortMapping{tcp(int32(9000+i), 80)}
			addresses, err := n.Attach(t.Context(), p)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if other := owner[addresses[0]]; other != "" {
				t.Errorf("%s and %s both have %s", p.ID, other, addresses[0])
			}
			owner[addresses[0]] = p.ID
		})
	}
	all.Wait()
	t.Logf("%d pods attached in %v", pods, time.Since(start))
	for address := range owner {
		wantHello(t, address, "80")
	}
	for i := range processes {
		all.Go(func() { n.stop(fmt.Sprintf("s%d", i)) })
	}
	all.Wait()
	release()
	slow.Wait()
	n.stop("slow")
	n.wantState(clean)
}
