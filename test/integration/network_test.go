// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// serve is a script that serves the image's page on a port.
func serve(port int) string {
	return fmt.Sprintf("httpd -p %d -h /www; %s", port, idle)
}

// TestPodNetwork looks at one pod from inside and from the node.
func TestPodNetwork(t *testing.T) {
	n := newNode(t)
	p := n.pod(func(c *cri.PodSandboxConfig) { c.Hostname = "a-name-of-its-own" })
	server := p.container(serve(8080))
	address := p.address()

	n.sub("containers share localhost", func(n *node) {
		p := p.in(n)
		if got := p.output("wget -q -O - http://127.0.0.1:8080/"); got != page {
			n.Errorf("localhost says %q", got)
		}
	})
	n.sub("the node reaches the address of the status", func(n *node) { n.wantPage(address + ":8080") })
	n.sub("the address is the one inside", func(n *node) {
		if fib := server.proc("net/fib_trie"); !strings.Contains(fib, "|-- "+address+"\n") {
			n.Errorf("%s is none of the pod's own addresses:\n%s", address, fib)
		}
	})
	n.sub("containers join the sandbox's namespace", func(n *node) {
		if server.namespace("net") == n.ownNamespace("net") {
			n.Error("the container is in the node's network")
		}
		if pinned := n.pinnedNamespace(p.id); server.namespace("net") != pinned {
			n.Errorf("the container is in %s, and %s is pinned", server.namespace("net"), pinned)
		}
	})
	n.sub("host name", func(n *node) {
		if name := strings.TrimSpace(server.file("/etc/hostname")); name != "a-name-of-its-own" {
			n.Errorf("/etc/hostname says %q", name)
		}
		if name := strings.TrimSpace(p.in(n).output("cat /proc/sys/kernel/hostname")); name != "a-name-of-its-own" {
			n.Errorf("the kernel says %q", name)
		}
	})
	n.sub("another pod reaches it", func(n *node) {
		n.dropForwarded()
		if got := n.pod().output("wget -q -O - http://" + address + ":8080/"); got != page {
			n.Errorf("the other pod gets %q", got)
		}
	})
}

// dropForwarded gives the FORWARD chain the policy that Docker gives it on a
// real node, until the test ends.
func (n *node) dropForwarded() {
	n.Helper()
	policy := func(to string) error { return exec.Command("iptables", "-w", "-P", "FORWARD", to).Run() }
	n.must("drop what is forwarded", policy("DROP"))
	n.Cleanup(func() { n.must("accept what is forwarded", policy("ACCEPT")) })
}

// pinnedNamespace identifies the namespace that is pinned for a sandbox, in the
// form of a link in /proc/PID/ns.
func (n *node) pinnedNamespace(id string) string {
	n.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	n.must("list mounts", err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], n.netns+"/") && strings.HasSuffix(f[4], id) {
			return f[3]
		}
	}
	return ""
}

// wantPage fetches the image's page.
func (n *node) wantPage(hostPort string) {
	n.Helper()
	// httpd may be about to listen.
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var got string
	eventually(n, "an answer from "+hostPort, func() bool {
		r, err := client.Get("http://" + hostPort + "/")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		got = string(body)
		return err == nil
	})
	if got != page {
		n.Errorf("%s says %q", hostPort, got)
	}
}

// TestHostPorts reaches a pod through the node's address, as long as it is there.
func TestHostPorts(t *testing.T) {
	n := newNode(t)
	p := n.pod(func(c *cri.PodSandboxConfig) {
		c.PortMappings = []*cri.PortMapping{
			{ContainerPort: 8080, HostPort: 18080},
			{ContainerPort: 8080, HostPort: 18081, Protocol: cri.Protocol_UDP},
			{ContainerPort: 9999}, // no host port: nothing to map
		}
	})
	p.container(serve(8080))
	gateway := gatewayOf(p.address())
	n.wantPage(gateway + ":18080")
	rules := strings.Join(n.natRules(), "\n")
	if !strings.Contains(rules, "-p udp -m udp --dport 18081") || strings.Contains(rules, "9999") {
		n.Errorf("rules are\n%s", rules)
	}
	n.stopPod(p.id)
	if held := slices.Concat(n.leases(), n.pins(), n.veths(), n.natRules()); len(held) > 0 {
		n.Errorf("after StopPodSandbox the network holds %q", held)
	}
	if conn, err := net.DialTimeout("tcp", gateway+":18080", 2*time.Second); err == nil {
		conn.Close()
		n.Error("the host port still answers after StopPodSandbox")
	}
}

// gatewayOf is the node's own address in a pod network.
func gatewayOf(address string) string {
	return address[:strings.LastIndex(address, ".")] + ".1"
}

// TestHostNetworkPod uses the node's network, name and addresses.
func TestHostNetworkPod(t *testing.T) {
	n := newNode(t)
	before := n.inventory()
	p := n.pod(onHostNetwork)
	for _, line := range n.inventory() {
		if !slices.Contains(before, line) && !strings.HasPrefix(line, "container ") && !strings.HasPrefix(line, "mount ") {
			n.Errorf("a pod of the host network has %s", line)
		}
	}
	c := p.container(serve(18090))
	for _, kind := range []string{"net", "uts"} {
		if got, want := c.namespace(kind), n.ownNamespace(kind); got != want {
			n.Errorf("%s namespace %s, and the node's is %s", kind, got, want)
		}
	}
	status := p.podStatus(p.id)
	if status.GetState() != cri.PodSandboxState_SANDBOX_READY || status.GetNetwork().GetIp() != "" {
		n.Errorf("status %v, want ready without an address of its own", status)
	}
	if got := status.GetLinux().GetNamespaces().GetOptions().GetNetwork(); got != cri.NamespaceMode_NODE {
		n.Errorf("status says network %s", got)
	}
	n.wantPage("127.0.0.1:18090")
}

// TestResolvConf reads what is in the container's file.
func TestResolvConf(t *testing.T) {
	n := newNode(t)
	own, err := os.ReadFile("/etc/resolv.conf")
	n.must("read the node's resolv.conf", err)
	asked := &cri.DNSConfig{
		Servers:  []string{"10.96.0.10", "fd00::10"},
		Searches: []string{"default.svc.cluster.local", "svc.cluster.local"},
		Options:  []string{"ndots:5", "edns0"},
	}
	const written = "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\nnameserver fd00::10\noptions ndots:5 edns0\n"
	for name, test := range map[string]struct {
		edit func(*cri.PodSandboxConfig)
		want string
	}{
		"as asked":                    {func(c *cri.PodSandboxConfig) { c.DnsConfig = asked }, written},
		"as asked, on host network":   {func(c *cri.PodSandboxConfig) { c.DnsConfig = asked; onHostNetwork(c) }, written},
		"the node's":                  {func(*cri.PodSandboxConfig) {}, string(own)},
		"the node's, on host network": {onHostNetwork, string(own)},
	} {
		n.sub(name, func(n *node) {
			p := n.pod(test.edit)
			for range 2 { // the containers of a pod share the file
				if got := p.container(idle).file("/etc/resolv.conf"); got != test.want {
					n.Errorf("resolv.conf is %q, want %q", got, test.want)
				}
			}
		})
	}
}
