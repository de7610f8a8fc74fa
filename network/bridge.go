// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/libcni"
)

// DefaultBridge is the Config.Default that asks for the built-in network: the
// bridge, host-local, portmap and firewall plugins on the pod CIDR. It exists in
// memory only, so it goes when a file appears in ConfDir.
const DefaultBridge = "bridge"

// DefaultPodCIDR is the built-in network's range until the node has one.
const DefaultPodCIDR = "10.244.0.0/24"

// bridgeVersion is the newest CNI version that the plugins of Debian 12 speak.
const bridgeVersion = "1.0.0"

// bridgeNetwork is the built-in configuration. Routes to everywhere go through
// the bridge, which is the pods' gateway.
func bridgeNetwork(podCIDRs []netip.Prefix, hairpin bool) (*libcni.NetworkConfigList, error) {
	if len(podCIDRs) == 0 {
		podCIDRs = []netip.Prefix{netip.MustParsePrefix(DefaultPodCIDR)}
	}
	var routes []map[string]string
	for _, c := range podCIDRs {
		everywhere := "::/0"
		if c.Addr().Is4() {
			everywhere = "0.0.0.0/0"
		}
		routes = append(routes, map[string]string{"dst": everywhere})
	}
	return newList(map[string]any{
		"cniVersion": bridgeVersion,
		"name":       "dockershimd",
		// The same portmap looks for rules of the wrong address family.
		"disableCheck": true,
		"plugins": []map[string]any{{
			"type":      "bridge",
			"bridge":    "dockershimd0",
			"isGateway": true,
			// When the node gets another range: without it the plugin refuses all pods.
			"forceAddress": true,
			"ipMasq":       true,
			"hairpinMode":  hairpin,
			"ipam":         map[string]any{"type": "host-local", "ranges": rangeSets(podCIDRs), "routes": routes},
		}, {
			"type":         "portmap",
			"snat":         true,
			"capabilities": map[string]bool{capPortMappings: true},
		}, {
			// Docker sets the policy of FORWARD to DROP; this lets the pods through.
			"type": "firewall",
		}},
	})
}

// parsePodCIDRs reads at most one range per address family, and reports all that
// is wrong at once.
func parsePodCIDRs(cidrs []string) ([]netip.Prefix, error) {
	var ranges []netip.Prefix
	var errs []error
	for _, text := range cidrs {
		c, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("pod CIDR %q: not a range such as %s", text, DefaultPodCIDR))
			continue
		case c.Bits() > c.Addr().BitLen()-2:
			errs = append(errs, fmt.Errorf("pod CIDR %s: too small for a gateway and a pod", text))
		}
		for _, other := range ranges {
			if other.Addr().Is4() == c.Addr().Is4() {
				errs = append(errs, fmt.Errorf("pod CIDRs %s and %s: one per address family", other, c))
			}
		}
		ranges = append(ranges, c.Masked())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return ranges, nil
}
