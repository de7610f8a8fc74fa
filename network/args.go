// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/libcni"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
)

// interfaceName is what a pod's interface is called; the kubelet and older
// shims count on it.
const interfaceName = "eth0"

// The capabilities we can fill, by their names in CNI's conventions. libcni
// hands each only to plugins whose configuration declares it.
const (
	capPortMappings = "portMappings"
	capBandwidth    = "bandwidth"
	capIPRanges     = "ipRanges"
	capDNS          = "dns"
)

type portMapping struct {
	HostPort      int32  `json:"hostPort"`
	ContainerPort int32  `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP,omitempty"`
}

// bandwidth is in bits per second and bits; plugins take zero as no limit.
type bandwidth struct {
	IngressRate  int64 `json:"ingressRate,omitempty"`
	IngressBurst int64 `json:"ingressBurst,omitempty"`
	EgressRate   int64 `json:"egressRate,omitempty"`
	EgressBurst  int64 `json:"egressBurst,omitempty"`
}

type ipRange struct {
	Subnet string `json:"subnet"`
}

type dns struct {
	Servers  []string `json:"servers,omitempty"`
	Searches []string `json:"searches,omitempty"`
	Options  []string `json:"options,omitempty"`
}

// attachment says how p is to be attached to list, except for the namespace. It
// refuses what no plugin of list will do, or logs it where we cannot know.
func (n *Network) attachment(ctx context.Context, p Pod, list *libcni.NetworkConfigList) (*libcni.NetworkAttachment, error) {
	args, err := cniArgs(p)
	if err != nil {
		return nil, err
	}
	capabilities, err := capabilityArgs(p, n.cidrs())
	if err != nil {
		return nil, err
	}
	if err := checkUnserved(ctx, p, list, capabilities); err != nil {
		return nil, err
	}
	return &libcni.NetworkAttachment{
		ContainerID:    p.ID,
		Network:        list.Name,
		IfName:         interfaceName,
		Config:         list.Bytes,
		CniArgs:        args,
		CapabilityArgs: capabilities,
	}, nil
}

// cniArgs are the names that Kubernetes' plugins look a pod up by. CNI_ARGS
// has no way to quote.
func cniArgs(p Pod) ([][2]string, error) {
	args := [][2]string{
		{"IgnoreUnknown", "1"}, // older plugins refuse keys they do not know
		{"K8S_POD_NAMESPACE", p.Namespace},
		{"K8S_POD_NAME", p.Name},
		{"K8S_POD_INFRA_CONTAINER_ID", p.ID},
		{"K8S_POD_UID", p.UID},
	}
	for _, a := range args {
		if strings.ContainsAny(a[1], ";=") {
			return nil, fmt.Errorf("%s %q: contains ; or =: %w", a[0], a[1], errdefs.ErrInvalidArgument)
		}
	}
	return args, nil
}

// capabilityArgs holds each capability that p has a use for.
func capabilityArgs(p Pod, podCIDRs []netip.Prefix) (map[string]any, error) {
	args := map[string]any{}
	ports, portErr := portMappings(p.PortMappings)
	if len(ports) > 0 {
		args[capPortMappings] = ports
	}
	limit, limitErr := podBandwidth(p.Annotations)
	if limit != (bandwidth{}) {
		args[capBandwidth] = limit
	}
	if len(podCIDRs) > 0 {
		args[capIPRanges] = rangeSets(podCIDRs)
	}
	if d := p.DNS; len(d.GetServers())+len(d.GetSearches())+len(d.GetOptions()) > 0 {
		args[capDNS] = dns{d.Servers, d.Searches, d.Options}
	}
	if err := errors.Join(portErr, limitErr); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return args, nil
}

var protocols = map[cri.Protocol]string{
	cri.Protocol_TCP:  "tcp",
	cri.Protocol_UDP:  "udp",
	cri.Protocol_SCTP: "sctp",
}

func portMappings(asked []*cri.PortMapping) ([]portMapping, error) {
	var ports []portMapping
	var errs []error
	for _, m := range asked {
		if m.GetHostPort() == 0 {
			continue
		}
		protocol, known := protocols[m.Protocol]
		if !known {
			errs = append(errs, fmt.Errorf("host port %d: unknown protocol %v", m.HostPort, m.Protocol))
		}
		if !validPort(m.HostPort) || !validPort(m.ContainerPort) {
			errs = append(errs, fmt.Errorf("port mapping %d to %d: ports are 1 to 65535", m.HostPort, m.ContainerPort))
		}
		if _, err := netip.ParseAddr(m.HostIp); m.HostIp != "" && err != nil {
			errs = append(errs, fmt.Errorf("host port %d: host IP %q is not an address", m.HostPort, m.HostIp))
		}
		ports = append(ports, portMapping{m.HostPort, m.ContainerPort, protocol, m.HostIp})
	}
	return ports, errors.Join(errs...)
}

func validPort(p int32) bool { return p > 0 && p <= math.MaxUint16 }

// rangeSets makes one set of each range, so that host-local picks an address
// from every family and not from any one.
func rangeSets(podCIDRs []netip.Prefix) [][]ipRange {
	var sets [][]ipRange
	for _, c := range podCIDRs {
		sets = append(sets, []ipRange{{Subnet: c.String()}})
	}
	return sets
}

// servesNoHostPorts are the CNI project's plugins. Other networks may serve host
// ports without being told: Cilium's agent reads them from the pod.
var servesNoHostPorts = []string{
	"bandwidth", "bridge", "dummy", "firewall", "host-device", "ipvlan", "loopback", "macvlan",
	"portmap", "ptp", "sbr", "tap", "tuning", "vlan", "vrf",
}

// checkUnserved refuses host ports that certainly nobody serves, and logs other
// wishes that no plugin of list declares a capability for.
func checkUnserved(ctx context.Context, p Pod, list *libcni.NetworkConfigList, args map[string]any) error {
	for _, capability := range []string{capPortMappings, capBandwidth} {
		if args[capability] == nil || declares(list, capability) {
			continue
		}
		own := func(c *libcni.PluginConfig) bool { return !slices.Contains(servesNoHostPorts, c.Network.Type) }
		if capability == capPortMappings && !slices.ContainsFunc(list.Plugins, own) {
			return fmt.Errorf("host ports: no plugin of network %s maps them; add portmap to the CNI configuration: %w",
				list.Name, errdefs.ErrFailedPrecondition)
		}
		klog.FromContext(ctx).Info("no plugin declares this capability; the pod has it only if the network sees to it by itself",
			"capability", capability, "network", list.Name, "sandbox", p.ID)
	}
	return nil
}

func declares(list *libcni.NetworkConfigList, capability string) bool {
	return slices.ContainsFunc(list.Plugins, func(c *libcni.PluginConfig) bool {
		return c.Network.Capabilities[capability]
	})
}
