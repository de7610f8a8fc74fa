// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// inNamespaces edits a container's namespace options.
func inNamespaces(edit func(*cri.NamespaceOption)) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) { edit(c.Linux.SecurityContext.NamespaceOptions) }
}

// TestSharedMemory: a pod has one /dev/shm, and no other has it.
func TestSharedMemory(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	one, two, other := p.container(idle), p.container(idle), k.pod().container(idle)
	one.sh("echo shared >/dev/shm/note")
	if got := two.exec("cat", "/dev/shm/note"); got != "shared\n" {
		k.Errorf("the pod's other container reads %q", got)
	}
	r, err := other.tryExec("cat", "/dev/shm/note")
	k.must("ExecSync", err)
	if r.GetExitCode() == 0 {
		k.Error("another pod can read it")
	}
	if one.namespace("ipc") != two.namespace("ipc") || one.namespace("ipc") == other.namespace("ipc") {
		k.Errorf("IPC namespaces: %s, %s, and of another pod %s", one.namespace("ipc"), two.namespace("ipc"), other.namespace("ipc"))
	}
	k.must("RemoveContainer", one.remove())
	if got := two.exec("cat", "/dev/shm/note"); got != "shared\n" {
		k.Errorf("when the writer is gone, it reads %q", got)
	}
}

// TestSharedNamespaces looks at what a pod's containers share among themselves
// and with the node, by each mode.
func TestSharedNamespaces(t *testing.T) {
	k := newKubelet(t)
	const pod, container, node = cri.NamespaceMode_POD, cri.NamespaceMode_CONTAINER, cri.NamespaceMode_NODE
	for name, test := range map[string]struct {
		options *cri.NamespaceOption
		shared  map[string]bool // between containers
		node    map[string]bool // with the node
	}{
		"the usual": {&cri.NamespaceOption{Pid: container},
			map[string]bool{"net": true, "ipc": true, "pid": false, "mnt": false}, map[string]bool{"net": false, "ipc": false, "pid": false, "uts": false}},
		"processes of the pod": {&cri.NamespaceOption{Pid: pod},
			map[string]bool{"net": true, "ipc": true, "pid": true}, map[string]bool{"pid": false}},
		"processes of the node": {&cri.NamespaceOption{Pid: node}, map[string]bool{"pid": true}, map[string]bool{"pid": true, "net": false, "ipc": false}},
		"memory of the node":    {&cri.NamespaceOption{Pid: container, Ipc: node}, map[string]bool{"ipc": true}, map[string]bool{"ipc": true, "net": false}},
		"network of the node":   {&cri.NamespaceOption{Pid: container, Network: node}, map[string]bool{"net": true}, map[string]bool{"net": true, "ipc": false, "uts": true}},
	} {
		k.sub(name, func(k *kubelet) {
			p := k.pod(func(c *cri.PodSandboxConfig) {
				c.Linux.SecurityContext.NamespaceOptions = test.options
				if test.options.GetNetwork() == node {
					c.Hostname = ""
				}
			})
			as := inNamespaces(func(o *cri.NamespaceOption) { o.Pid = test.options.GetPid() })
			one, two := p.container(idle, as), p.container(idle, as)
			for kind, want := range test.shared {
				if got := one.namespace(kind) == two.namespace(kind); got != want {
					k.Errorf("the containers share %s: %t, want %t", kind, got, want)
				}
			}
			for kind, want := range test.node {
				if got := one.namespace(kind) == k.onNode(kind); got != want {
					k.Errorf("they share %s with the node: %t, want %t", kind, got, want)
				}
			}
			if told := p.status().GetLinux().GetNamespaces().GetOptions(); !proto.Equal(told, test.options) {
				k.Errorf("the status says %v, want %v", told, test.options)
			}
		})
	}
}

// TestHostNames: all containers of a pod have its name.
func TestHostNames(t *testing.T) {
	k := newKubelet(t)
	p := k.pod(func(c *cri.PodSandboxConfig) { c.Hostname = "a-name-of-its-own" })
	for range 2 {
		c := p.container(idle)
		if got := c.exec("hostname") + c.exec("cat", "/etc/hostname"); got != "a-name-of-its-own\na-name-of-its-own\n" {
			k.Errorf("the names are %q", got)
		}
	}
	name, err := os.Hostname()
	k.must("ask the node's name", err)
	if got := k.pod(onHostNetwork).container(idle).exec("hostname"); got != name+"\n" {
		k.Errorf("in the node's network the name is %q, want %s", got, name)
	}
}

// TestTargetedProcesses is what kubectl debug --target asks for.
func TestTargetedProcesses(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	target := p.container("exec sleep 4321")
	at := func(id string) func(*cri.ContainerConfig) {
		return inNamespaces(func(o *cri.NamespaceOption) { o.Pid, o.TargetId = cri.NamespaceMode_TARGET, id })
	}
	c := p.container(idle, at(target.id))
	if got := c.exec("cat", "/proc/1/cmdline"); got != "sleep\x004321\x00" {
		k.Errorf("its first process is %q", got)
	}
	if c.namespace("pid") != target.namespace("pid") {
		k.Error("they do not share the namespace")
	}
	stranger := k.pod().container(idle)
	ended := p.container("true")
	ended.awaitExit()
	for name, id := range map[string]string{"of another pod": stranger.id, "that is not there": strings.Repeat("e", 64), "without a name": "", "that has ended": ended.id} {
		k.sub(name, func(k *kubelet) {
			p := p.in(k)
			config := containerConfig(p.config, idle, at(id))
			id, err := p.tryCreate(config)
			if err == nil {
				c := &container{p, id, config}
				err = c.start()
				k.must("RemoveContainer", c.remove())
			}
			k.wantRefusalCode(err, codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound)
		})
	}
	// The debugger goes, the target stays.
	k.must("RemoveContainer", c.remove())
	target.wantState("without its debugger", cri.ContainerState_CONTAINER_RUNNING)
}

// TestUserNamespaces: where the handler has none, a pod that wants one is refused
// instead of run with the node's users.
func TestUserNamespaces(t *testing.T) {
	k := newKubelet(t)
	mapping := []*cri.IDMapping{{HostId: 1 << 20, ContainerId: 0, Length: 1 << 16}}
	asked := &cri.UserNamespace{Mode: cri.NamespaceMode_POD, Uids: mapping, Gids: mapping}
	config := podConfig(k.TempDir(), func(c *cri.PodSandboxConfig) { namespaces(c).UsernsOptions = asked })
	id, err := k.tryPod("", config)
	if _, handler := k.features(); !handler.GetUserNamespaces() {
		k.wantRefusal(err, "userns")
		return
	}
	k.must("RunPodSandbox", err)
	c := (&pod{k, id, config}).container(idle)
	if got := strings.Fields(c.proc("uid_map")); strings.Join(got, " ") != "0 1048576 65536" {
		k.Errorf("the users are mapped by %q", got)
	}
}
