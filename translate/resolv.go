// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ResolvConf is the text of resolv.conf(5) for a DNS configuration. It is empty
// when the configuration is nil or asks for nothing; the pod then gets the
// node's own.
func ResolvConf(dns *cri.DNSConfig) string {
	var b strings.Builder
	if s := dns.GetSearches(); len(s) > 0 {
		b.WriteString("search " + strings.Join(s, " ") + "\n")
	}
	for _, s := range dns.GetServers() {
		b.WriteString("nameserver " + s + "\n")
	}
	if o := dns.GetOptions(); len(o) > 0 {
		b.WriteString("options " + strings.Join(o, " ") + "\n")
	}
	return b.String()
}

// checkDNS refuses entries that would turn into other lines or words of
// resolv.conf.
func checkDNS(p *problems, field string, dns *cri.DNSConfig) {
	check := func(name string, values []string) {
		for _, v := range values {
			if v == "" || strings.ContainsAny(v, " \t\r\n\x00") {
				p.add(field+"."+name, "%q is not one word of resolv.conf", v)
			}
		}
	}
	check("servers", dns.GetServers())
	check("searches", dns.GetSearches())
	check("options", dns.GetOptions())
}
