// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Addresses that the node gets for a test. They are from the ranges that
// documents use, so nothing else has them.
const (
	nodeAddress  = "192.0.2.10"
	otherAddress = "192.0.2.11"
	nodeAddress6 = "2001:db8::10"
)

// addressed gives the node an address until the test ends.
func (k *kubelet) addressed(addresses ...string) {
	k.Helper()
	lo, err := netlink.LinkByName("lo")
	k.must("find the link lo", err)
	for _, text := range addresses {
		ip := net.ParseIP(text)
		bits := 8 * len(ip)
		if ip.To4() != nil {
			ip, bits = ip.To4(), 32
		}
		a := &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)}}
		k.must("give the node the address "+text, netlink.AddrReplace(lo, a))
		k.Cleanup(func() { k.must("take the address "+text, netlink.AddrDel(lo, a)) })
	}
}

func mapped(mappings ...*cri.PortMapping) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) { c.PortMappings = mappings }
}

// page is what a container says that serves.
const page = "Hello from a pod\n"

// serve is a script that serves the page.
func serve(port int) string {
	return fmt.Sprintf("mkdir -p /served; echo '%s' >/served/index.html; exec httpd -f -p %d -h /served", strings.TrimSpace(page), port)
}

// get fetches the page from an address and a port.
func get(address string, port int) (string, error) {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + net.JoinHostPort(address, fmt.Sprint(port)) + "/")
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// wantPage waits for the page: the server may be about to listen.
func (k *kubelet) wantPage(address string, port int) {
	k.Helper()
	var got string
	if !soon(func() (done bool) {
		text, err := get(address, port)
		got = fmt.Sprintf("%q, %v", text, err)
		return text == page
	}) {
		k.Errorf("%s, port %d: %s", address, port, got)
	}
}

func (k *kubelet) wantNoPage(address string, port int) {
	k.Helper()
	if text, err := get(address, port); err == nil {
		k.Errorf("%s, port %d says %q", address, port, text)
	}
}

// TestHostPorts reaches a pod by the node's addresses for as long as it is there.
func TestHostPorts(t *testing.T) {
	k := newKubelet(t)
	k.addressed(nodeAddress, otherAddress)
	p := k.pod(mapped(
		&cri.PortMapping{ContainerPort: 8080, HostPort: 18080},
		&cri.PortMapping{ContainerPort: 8080, HostPort: 18081, HostIp: nodeAddress},
		&cri.PortMapping{ContainerPort: 8080, HostPort: 18082, HostIp: "127.0.0.1"},
		&cri.PortMapping{ContainerPort: 8080, HostPort: 18083, HostIp: "0.0.0.0"},
		&cri.PortMapping{ContainerPort: 8080, HostPort: 18084, Protocol: cri.Protocol_UDP},
		&cri.PortMapping{ContainerPort: 9999}, // none is asked for
	))
	p.container(serve(8080))
	k.wantPage(p.addresses()[0], 8080)
	for _, address := range []string{nodeAddress, otherAddress} {
		k.wantPage(address, 18080)
		k.wantPage(address, 18083)
		k.wantNoPage(address, 18082)
		k.wantNoPage(address, 18084)
		k.wantNoPage(address, 9999)
	}
	k.wantPage(nodeAddress, 18081)
	k.wantNoPage(otherAddress, 18081)
	k.wantPage("127.0.0.1", 18082)
	// From another pod, as the node's clients do it.
	got := k.pod().output(fmt.Sprintf("wget -q -O - http://%s:18080/", nodeAddress))
	if got != page {
		k.Errorf("another pod gets %q", got)
	}
	k.must("StopPodSandbox", p.stop())
	for port := 18080; port < 18085; port++ {
		k.wantNoPage(nodeAddress, port)
	}
}

// TestHostPortOfTwoPods: the same port of two addresses.
func TestHostPortOfTwoPods(t *testing.T) {
	k := newKubelet(t)
	k.addressed(nodeAddress, otherAddress)
	for _, address := range []string{nodeAddress, otherAddress} {
		p := k.pod(mapped(&cri.PortMapping{ContainerPort: 8080, HostPort: 18090, HostIp: address}))
		p.container(serve(8080))
		k.wantPage(address, 18090)
	}
	k.wantPage(nodeAddress, 18090)
}

// TestHostPortOfHostNetwork: kubelets map the ports of such pods too.
func TestHostPortOfHostNetwork(t *testing.T) {
	k := newKubelet(t)
	k.addressed(nodeAddress)
	p := k.pod(onHostNetwork, mapped(&cri.PortMapping{ContainerPort: 18095, HostPort: 18095}))
	p.container(serve(18095))
	k.wantPage(nodeAddress, 18095)
	if ip := p.status().GetNetwork().GetIp(); ip != "" {
		k.Logf("the status says address %s", ip)
	}
}

// TestHostPortUDP sends datagrams there and back, beside TCP on the same port.
func TestHostPortUDP(t *testing.T) {
	k := newKubelet(t)
	k.addressed(nodeAddress)
	p := k.pod(mapped(
		&cri.PortMapping{ContainerPort: 5353, HostPort: 18053, Protocol: cri.Protocol_UDP},
		&cri.PortMapping{ContainerPort: 8080, HostPort: 18053},
	))
	c := p.container(serve(8080))
	c.inNetwork(func() error { return echoUDP(k, ":5353") })
	k.wantEcho(nodeAddress)
	k.wantPage(nodeAddress, 18053)
}

// echoUDP sends back what comes, until the test ends.
func echoUDP(k *kubelet, address string) error {
	server, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	k.Cleanup(func() { server.Close() })
	go func() {
		buffer := make([]byte, 100)
		for {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(buffer[:n], from) // the client asks again
		}
	}()
	return nil
}

func (k *kubelet) wantEcho(address string) {
	k.Helper()
	eventually(k, "a datagram comes back from "+address, func() bool {
		conn, err := net.Dial("udp", net.JoinHostPort(address, "18053"))
		k.must("dial", err)
		defer conn.Close()
		k.must("set a deadline", conn.SetDeadline(time.Now().Add(time.Second)))
		buffer := make([]byte, 100)
		if _, err := conn.Write([]byte("hello")); err != nil {
			return false
		}
		n, err := conn.Read(buffer)
		return err == nil && string(buffer[:n]) == "hello"
	})
}

// TestHostPortSCTP sends the first packet of an association, which needs SCTP in
// the node's firewall only, and looks where it arrives. Where that has none, the
// pod is refused.
func TestHostPortSCTP(t *testing.T) {
	k := newKubelet(t)
	k.addressed(nodeAddress)
	config := podConfig(k.TempDir(), mapped(&cri.PortMapping{ContainerPort: 3868, HostPort: 18868, Protocol: cri.Protocol_SCTP}))
	id, err := k.tryPod("", config)
	if err != nil {
		k.wantRefusal(err, "port_mappings", "SCTP", "sctp")
		return
	}
	c := (&pod{k, id, config}).container(idle)
	arrived := make(chan int, 1)
	c.inNetwork(func() error { return listenSCTP(k, arrived) })
	conn, err := net.Dial("ip4:132", nodeAddress)
	k.must("open a raw socket", err)
	defer conn.Close()
	eventually(k, "a packet arrives at port 3868", func() bool {
		if _, err := conn.Write(initSCTP(40000, 18868)); err != nil {
			return false
		}
		select {
		case port := <-arrived:
			return port == 3868
		case <-time.After(lookEvery):
			return false
		}
	})
}

// listenSCTP tells the ports that packets arrive for, until the test ends.
func listenSCTP(k *kubelet, arrived chan<- int) error {
	server, err := net.ListenPacket("ip4:132", "0.0.0.0")
	if err != nil {
		return err
	}
	k.Cleanup(func() { server.Close() })
	go func() {
		packet := make([]byte, 1500)
		for {
			n, _, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			if n < 4 {
				continue
			}
			select {
			case arrived <- int(packet[2])<<8 | int(packet[3]):
			default: // one is enough
			}
		}
	}()
	return nil
}

// TestBadPortMappings: what no firewall could do.
func TestBadPortMappings(t *testing.T) {
	k := newKubelet(t)
	for name, m := range map[string]*cri.PortMapping{
		"container port above":  {ContainerPort: 65536, HostPort: 18080},
		"container port below":  {ContainerPort: -1, HostPort: 18080},
		"host port above":       {ContainerPort: 80, HostPort: 65536},
		"host port below":       {ContainerPort: 80, HostPort: -1},
		"an unknown protocol":   {ContainerPort: 80, HostPort: 18080, Protocol: 7},
		"an address that is no": {ContainerPort: 80, HostPort: 18080, HostIp: "here"},
	} {
		k.sub(name, func(k *kubelet) {
			k.keepBalance()
			_, err := k.tryPod("", podConfig(k.TempDir(), mapped(m)))
			k.wantRefusal(err, "port_mappings")
		})
	}
}
