// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestProcessNamespaces looks at whose processes a container sees.
func TestProcessNamespaces(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	mode := func(mode cri.NamespaceMode, target string) func(*cri.ContainerConfig) {
		return func(c *cri.ContainerConfig) {
			c.Linux.SecurityContext.NamespaceOptions.Pid, c.Linux.SecurityContext.NamespaceOptions.TargetId = mode, target
		}
	}
	first := p.container(idle)
	shared := p.container(idle, mode(cri.NamespaceMode_POD, ""))
	sharedToo := p.container(idle, mode(cri.NamespaceMode_POD, ""))
	beside := p.container(idle, mode(cri.NamespaceMode_TARGET, first.id))
	onNode := p.container(idle, mode(cri.NamespaceMode_NODE, ""))
	pause := &workload{pod: p, id: p.id, pid: n.engine.inspect(n, p.id).State.Pid}
	for what, same := range map[string]bool{
		"a container has processes of its own":        first.namespace("pid") != pause.namespace("pid") && first.namespace("pid") != shared.namespace("pid"),
		"POD is the sandbox's":                        shared.namespace("pid") == pause.namespace("pid"),
		"POD is the same for all":                     shared.namespace("pid") == sharedToo.namespace("pid"),
		"TARGET is the target's":                      beside.namespace("pid") == first.namespace("pid"),
		"NODE is the node's":                          onNode.namespace("pid") == n.ownNamespace("pid"),
		"IPC is the sandbox's":                        first.namespace("ipc") == pause.namespace("ipc"),
		"IPC is not the node's":                       first.namespace("ipc") != n.ownNamespace("ipc"),
		"mounts are a container's own":                first.namespace("mnt") != shared.namespace("mnt"),
		"the network is the sandbox's, whatever else": onNode.namespace("net") == pause.namespace("net"),
	} {
		if !same {
			n.Errorf("not so: %s", what)
		}
	}
	shared.wantShm(sharedToo)
	other := n.pod().container(idle)
	_, err := p.tryCreate(p.containerConfig(idle, mode(cri.NamespaceMode_TARGET, other.id)))
	n.wantCode("the processes of another pod", err, codes.InvalidArgument)
	_, err = p.tryCreate(p.containerConfig(idle, mode(cri.NamespaceMode_TARGET, "0123456789")))
	n.wantCode("the processes of nobody", err, codes.NotFound)
}

// wantShm checks that both containers use the same /dev/shm.
func (c *workload) wantShm(other *workload) {
	c.Helper()
	writer := c.container("echo for both >/dev/shm/note")
	writer.awaitExit()
	for _, reader := range []*workload{c, other} {
		if got := reader.file("/dev/shm/note"); got != "for both\n" {
			c.Errorf("/dev/shm/note says %q", got)
		}
	}
}

// TestNodeNamespaces: a pod may use the node's IPC and processes.
func TestNodeNamespaces(t *testing.T) {
	n := newNode(t)
	p := n.pod(func(c *cri.PodSandboxConfig) {
		namespaces(c).Ipc, namespaces(c).Pid = cri.NamespaceMode_NODE, cri.NamespaceMode_NODE
	})
	c := p.container(idle, func(c *cri.ContainerConfig) { c.Linux.SecurityContext.NamespaceOptions.Pid = cri.NamespaceMode_NODE })
	for _, kind := range []string{"ipc", "pid"} {
		if got, want := c.namespace(kind), n.ownNamespace(kind); got != want {
			n.Errorf("%s namespace %s, and the node's is %s", kind, got, want)
		}
	}
	options := p.podStatus(p.id).GetLinux().GetNamespaces().GetOptions()
	if options.GetIpc() != cri.NamespaceMode_NODE || options.GetPid() != cri.NamespaceMode_NODE || options.GetNetwork() != cri.NamespaceMode_POD {
		n.Errorf("status says %v", options)
	}
}

// TestSysctls reads them inside.
func TestSysctls(t *testing.T) {
	n := newNode(t)
	p := n.pod(func(c *cri.PodSandboxConfig) {
		c.Linux.Sysctls = map[string]string{"net.ipv4.ip_local_port_range": "20000 20999", "kernel.shm_rmid_forced": "1"}
	})
	got := p.output("cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced")
	if got != "20000\t20999\n1\n" {
		n.Errorf("sysctls are %q", got)
	}
}
