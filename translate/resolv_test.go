// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestResolvConf(t *testing.T) {
	for _, c := range []struct {
		about string
		dns   *cri.DNSConfig
		want  string
	}{
		{"none", nil, ""},
		{"one that asks for nothing", &cri.DNSConfig{}, ""},
		{"everything", &cri.DNSConfig{Servers: []string{"10.96.0.10", "fd00::a"}, Searches: []string{"a.local", "local"}, Options: []string{"ndots:5", "edns0"}},
			"search a.local local\nnameserver 10.96.0.10\nnameserver fd00::a\noptions ndots:5 edns0\n"},
		{"servers only", &cri.DNSConfig{Servers: []string{"10.96.0.10"}}, "nameserver 10.96.0.10\n"},
		{"options only", &cri.DNSConfig{Options: []string{"rotate"}}, "options rotate\n"},
	} {
		if got := ResolvConf(c.dns); got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.about, got, c.want)
		}
	}
}

func TestDNSInjectionIsRefused(t *testing.T) {
	for _, word := range []string{"", " ", "a b", "a\tb", "a\nnameserver 192.0.2.1", "a\rb", "a\x00b", "\n"} {
		for field, dns := range map[string]*cri.DNSConfig{
			"servers":  {Servers: []string{"10.96.0.10", word}},
			"searches": {Searches: []string{word}},
			"options":  {Options: []string{word}},
		} {
			var p problems
			checkDNS(&p, "dns_config", dns)
			if len(p) != 1 {
				t.Errorf("%s %q: %d problems, want 1", field, word, len(p))
			}
		}
	}
}
