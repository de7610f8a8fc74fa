// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestCapabilityArgs(t *testing.T) {
	tests := []struct {
		name  string
		pod   Pod
		cidrs []string
		want  string
	}{
		{name: "nothing asked", pod: Pod{DNS: &cri.DNSConfig{}, PortMappings: []*cri.PortMapping{{ContainerPort: 80}}}, want: `{}`},
		{
			name: "host ports",
			pod: Pod{PortMappings: []*cri.PortMapping{
				{HostPort: 53, ContainerPort: 5353, Protocol: cri.Protocol_UDP, HostIp: "192.0.2.1"},
				{HostPort: 65535, ContainerPort: 1, Protocol: cri.Protocol_SCTP, HostIp: "2001:db8::1"},
			}},
			want: `{"portMappings":[{"hostPort":53,"containerPort":5353,"protocol":"udp","hostIP":"192.0.2.1"},{"hostPort":65535,"containerPort":1,"protocol":"sctp","hostIP":"2001:db8::1"}]}`,
		},
		{
			name: "one direction",
			pod:  Pod{Annotations: map[string]string{egressAnnotation: "1500k", "kubernetes.io/other": "x"}},
			want: `{"bandwidth":{"egressRate":1500000,"egressBurst":2147483647}}`,
		},
		{
			name: "DNS",
			pod:  Pod{DNS: &cri.DNSConfig{Servers: []string{"10.0.0.10"}, Searches: []string{"svc"}, Options: []string{"ndots:5"}}},
			want: `{"dns":{"servers":["10.0.0.10"],"searches":["svc"],"options":["ndots:5"]}}`,
		},
		{name: "dual stack", cidrs: []string{"fd00::/64", "10.1.0.0/16"}, want: `{"ipRanges":[[{"subnet":"fd00::/64"}],[{"subnet":"10.1.0.0/16"}]]}`},
	}
	for _, test := range tests {
		args, err := capabilityArgs(test.pod, prefixes(t, test.cidrs...))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got, _ := json.Marshal(args); string(got) != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func TestBadCapabilityArgsAreAllReported(t *testing.T) {
	_, err := capabilityArgs(Pod{
		PortMappings: []*cri.PortMapping{{HostPort: 80, ContainerPort: 0}, {HostPort: -1, ContainerPort: 1}, {HostPort: 81, ContainerPort: 1, Protocol: 9}, {HostPort: 82, ContainerPort: 1, HostIp: "localhost"}},
		Annotations:  map[string]string{ingressAnnotation: "1", egressAnnotation: "2P"},
	}, nil)
	wantError(t, err, "80 to 0", "-1 to 1", "unknown protocol 9", `"localhost"`, `"1" is not between`, `"2P" is not between`)
}

// A network with a plugin that we do not know may serve host ports by itself.
func TestHostPortsOfOtherNetworks(t *testing.T) {
	n := newNode(t)
	n.writeConf("10-test.conflist", `{"cniVersion": "0.3.1", "name": "cilium", "plugins": [{"type": "main"}]}`)
	n.restart(t)
	p := pod("s1")
	p.PortMappings = []*cri.PortMapping{tcp(8080, 80)}
	if _, err := n.Attach(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := n.calls()[0].Stdin.RuntimeConfig; got != nil {
		t.Errorf("a plugin without capabilities got %v", got)
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]int64{
		"10M": 10e6, "1k": 1e3, "1000": 1000, "+2M": 2e6, "1.5G": 1.5e9, ".5M": 5e5, "1.M": 1e6,
		"1Ki": 1024, "1Mi": 1 << 20, "1e6": 1e6, "2E+4": 2e4, "1P": 1e15, "1000T": 1e15, "0.001E": 1e15,
		"1000500m": 1001, "1e15": 1e15, "1000000000000u": 1e6,
	} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fast", "-1M", "999", "2P", "1E", "10MB", "10 M", "1e100", "1e", "0x10", "1_000", "1/2", ".", "M", "10Ki\n", "1e6k", "nan", "inf", strings.Repeat("9", 99)} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, text := range []string{"10M", "1.5Gi", "1e6", "2E+4", "1000500m", "", "1e99", "0x1p3"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := parseRate(text); err == nil && (r < leastRate || r > mostRate) {
			t.Errorf("%q is %d, beyond the bounds", text, r)
		}
	})
}

func FuzzResultAddresses(f *testing.F) {
	for _, text := range []string{
		`{"cniVersion": "1.1.0", "ips": [{"address": "fd00::1/64"}, {"address": "10.0.0.1/8", "interface": 3}]}`,
		`{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.0.0.1/8"}]}`,
		`{"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.1/8"}, "ip6": {"ip": "::ffff:10.0.0.1/128"}}`,
		`{"cniVersion": "1.0.0", "ips": [{}]}`,
		`{"cniVersion": "1.0.0", "ips": [null]}`,
		`{"cniVersion": "0.4.0", "ips": [null], "interfaces": [null], "routes": [null]}`,
		`{"cniVersion": "0.2.0", "ip4": null}`,
		`null`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var result types.Result
		if checkOutput("main", []byte(text)) != nil {
			return
		}
		result, err := create.CreateFromBytes([]byte(text))
		if err != nil {
			return
		}
		addresses, err := resultAddresses(result)
		if err != nil {
			return
		}
		v6 := false
		for _, a := range addresses {
			if isV6 := strings.Contains(a, ":"); v6 && !isV6 {
				t.Errorf("%v: IPv4 is not first", addresses)
			} else {
				v6 = isV6
			}
		}
		if len(addresses) == 0 {
			t.Errorf("%s: no address and no error", text)
		}
	})
}
