// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// twoFamilies is a CNI configuration with a range of each address family.
const twoFamilies = `{
	"cniVersion": "1.0.0", "name": "kubelet-suite", "disableCheck": true,
	"plugins": [
		{
			"type": "bridge", "bridge": "kubelet-suite0", "isGateway": true, "ipMasq": true,
			"ipam": {
				"type": "host-local",
				"ranges": [[{"subnet": "10.250.0.0/24"}], [{"subnet": "fd00:250::/64"}]],
				"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
			}
		},
		{"type": "portmap", "snat": true, "capabilities": {"portMappings": true}},
		{"type": "firewall"}
	]
}`

// The families' ranges.
var range4, range6 = netip.MustParsePrefix("10.250.0.0/24"), netip.MustParsePrefix("fd00:250::/64")

// onTwoFamilies is a kubelet on a node whose pods have two addresses. The
// network is there until the test ends.
func onTwoFamilies(t *testing.T) *kubelet {
	t.Helper()
	k := newKubelet(t)
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		k.Skip("this node has no IPv6")
	}
	if suite.cniConf == "" {
		k.Skip("CNI_CONF_DIR is not set: the tests cannot give the pods two addresses")
	}
	path := filepath.Join(suite.cniConf, "00-kubelet-suite.conflist")
	k.must("write a CNI configuration", os.WriteFile(path+".new", []byte(twoFamilies), 0o644))
	k.Cleanup(k.removeBridge)
	k.Cleanup(func() {
		k.must("remove the CNI configuration", os.Remove(path))
		eventually(k, "pods have one address again", func() bool { return !k.hasTwoFamilies() })
	})
	k.must("write a CNI configuration", os.Rename(path+".new", path))
	eventually(k, "pods have two addresses", k.hasTwoFamilies)
	return k
}

// hasTwoFamilies runs a pod to see which network it gets.
func (k *kubelet) hasTwoFamilies() bool {
	k.Helper()
	ctx := context.Background() // also for clean-ups
	config := podConfig(k.TempDir())
	r, err := k.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return false // between two configurations there may be none
	}
	defer func() { k.must("remove the pod", k.removePod(ctx, r.GetPodSandboxId())) }()
	status, err := k.runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: r.GetPodSandboxId()})
	k.must("PodSandboxStatus", err)
	ip, err := netip.ParseAddr(status.GetStatus().GetNetwork().GetIp())
	k.must("read the address", err)
	return range4.Contains(ip)
}

// removeBridge removes what the plugins leave for the next pods.
func (k *kubelet) removeBridge() {
	k.Helper()
	bridge, err := netlink.LinkByName("kubelet-suite0")
	k.must("find the bridge", err)
	k.must("remove the bridge", netlink.LinkDel(bridge))
}

// TestTwoAddresses reaches pods by both families.
func TestTwoAddresses(t *testing.T) {
	k := onTwoFamilies(t)
	p := k.pod()
	c := p.container(serve(8080))
	addresses := p.addresses()
	if len(addresses) != 2 {
		k.Fatalf("the status says %q, want two addresses", addresses)
	}
	for i, of := range []netip.Prefix{range4, range6} { // in the order of the configuration
		ip, err := netip.ParseAddr(addresses[i])
		if err != nil || !of.Contains(ip) {
			k.Errorf("address %d is %s, want one of %s", i+1, addresses[i], of)
			continue
		}
		if !strings.Contains(c.exec("ip", "addr"), " "+ip.String()+"/") {
			k.Errorf("%s is none of the pod's own:\n%s", ip, c.exec("ip", "addr"))
		}
		k.wantPage(ip.String(), 8080)
		url := "http://" + netip.AddrPortFrom(ip, 8080).String() + "/"
		if got := k.pod().output("wget -q -O - " + url); got != page {
			k.Errorf("another pod gets %q from %s", got, url)
		}
	}
}

// TestHostPortsOfTwoFamilies reaches a pod by the node's addresses of both.
func TestHostPortsOfTwoFamilies(t *testing.T) {
	k := onTwoFamilies(t)
	k.addressed(nodeAddress, nodeAddress6)
	p := k.pod(mapped(
		&cri.PortMapping{ContainerPort: 8080, HostPort: 18080},
		&cri.PortMapping{ContainerPort: 8080, HostPort: 18081, HostIp: nodeAddress6},
		&cri.PortMapping{ContainerPort: 8080, HostPort: 18082, HostIp: nodeAddress},
		&cri.PortMapping{ContainerPort: 8080, HostPort: 18083, HostIp: "::"},
		&cri.PortMapping{ContainerPort: 5353, HostPort: 18053, Protocol: cri.Protocol_UDP},
	))
	c := p.container(serve(8080))
	k.wantPage(nodeAddress, 18080)
	k.wantPage(nodeAddress6, 18080)
	k.wantPage(nodeAddress6, 18081)
	k.wantNoPage(nodeAddress, 18081)
	k.wantPage(nodeAddress, 18082)
	k.wantNoPage(nodeAddress6, 18082)
	k.wantPage(nodeAddress6, 18083)
	c.inNetwork(func() error { return echoUDP(k, ":5353") })
	k.wantEcho(nodeAddress)
	k.wantEcho(nodeAddress6)
	k.must("StopPodSandbox", p.stop())
	k.wantNoPage(nodeAddress, 18080)
	k.wantNoPage(nodeAddress6, 18080)
}

// TestSysctlsOfTwoFamilies: a pod's sysctls are set before it has addresses, and
// do not keep it from having them.
func TestSysctlsOfTwoFamilies(t *testing.T) {
	k := onTwoFamilies(t)
	p := k.pod(withSysctls(map[string]string{"net.ipv6.conf.all.accept_ra": "0"}))
	if got := p.container(idle).exec("cat", "/proc/sys/net/ipv6/conf/all/accept_ra"); got != "0\n" {
		k.Errorf("the sysctl is %q", got)
	}
	if len(p.addresses()) != 2 {
		k.Errorf("the addresses are %q", p.addresses())
	}
}
