// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"maps"
	"slices"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func withSysctls(s map[string]string) func(*cri.PodSandboxConfig) {
	return func(c *cri.PodSandboxConfig) { c.Linux.Sysctls = s }
}

// TestSysctls: those that the kubelet calls safe, and some that it does not.
func TestSysctls(t *testing.T) {
	k := newKubelet(t)
	asked := map[string]string{
		"kernel.shm_rmid_forced":              "1",
		"net.ipv4.ip_local_port_range":        "20000\t30000",
		"net.ipv4.tcp_syncookies":             "0",
		"net.ipv4.ping_group_range":           "1\t100",
		"net.ipv4.ip_unprivileged_port_start": "1000",
		"net.ipv4.tcp_keepalive_time":         "600",
		"net.ipv4.tcp_rmem":                   "4096\t87380\t16777216",
		"kernel.msgmax":                       "65536",
		"kernel.sem":                          "32000\t1024000000\t500\t32000",
		"net.ipv4.conf.all.accept_redirects":  "0",
	}
	p := k.pod(withSysctls(asked))
	for range 2 { // every container of the pod has them
		c := p.container(idle)
		for _, name := range slices.Sorted(maps.Keys(asked)) {
			if got := strings.TrimSpace(c.exec("cat", "/proc/sys/"+strings.ReplaceAll(name, ".", "/"))); got != asked[name] {
				k.Errorf("%s is %q, want %q", name, got, asked[name])
			}
		}
	}
	// And no other pod.
	if got := k.pod().container(idle).exec("cat", "/proc/sys/net/ipv4/tcp_keepalive_time"); got == "600\n" {
		k.Error("another pod has them too")
	}
}

// TestSysctlsRefused: those of the node, by namespaces that the pod shares with
// it, and those that the kernel does not know.
func TestSysctlsRefused(t *testing.T) {
	k := newKubelet(t)
	for name, test := range map[string]struct {
		sysctl, value string
		edit          func(*cri.PodSandboxConfig)
	}{
		"of the node":              {"vm.swappiness", "1", func(*cri.PodSandboxConfig) {}},
		"of the node's kernel":     {"kernel.pid_max", "99999", func(*cri.PodSandboxConfig) {}},
		"of the node's network":    {"net.ipv4.ip_forward", "1", onHostNetwork},
		"of the node's memory":     {"kernel.msgmax", "65536", func(c *cri.PodSandboxConfig) { namespaces(c).Ipc = cri.NamespaceMode_NODE }},
		"with a path out of /proc": {"net/../../kernel.hostname", "mine", func(*cri.PodSandboxConfig) {}},
	} {
		k.sub(name, func(k *kubelet) { k.wantRefusal(k.trySysctl(test.sysctl, test.value, test.edit), test.sysctl) })
	}
	// Only the kernel can tell what is wrong with these, when the pod is half made.
	for name, test := range map[string]struct{ sysctl, value string }{
		"of no kernel":               {"net.ipv4.unheard_of", "1"},
		"with a value that is none":  {"net.ipv4.tcp_syncookies", "many"},
		"with a value out of bounds": {"kernel.msgmax", "-1"},
	} {
		k.sub(name, func(k *kubelet) {
			err := k.trySysctl(test.sysctl, test.value, func(*cri.PodSandboxConfig) {})
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "/", "."), test.sysctl) {
				k.Errorf("it says %v, want an error that names %s", err, test.sysctl)
			}
		})
	}
}

// trySysctl runs a pod with a sysctl. What fails leaves nothing behind.
func (k *kubelet) trySysctl(name, value string, edit func(*cri.PodSandboxConfig)) error {
	k.Helper()
	k.keepBalance()
	_, err := k.tryPod("", podConfig(k.TempDir(), withSysctls(map[string]string{name: value}), edit))
	return err
}
