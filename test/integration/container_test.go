// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// workload is a container that the test has created in a pod.
type workload struct {
	*pod
	id  string
	pid int // of its first process, once it was started
	// logName is the log's, below the pod's log directory.
	logName string
}

// idle is a script that runs until it is told to end, and then does so at once.
const idle = "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"

// containerConfig is a container that runs a shell script, with edits.
func (p *pod) containerConfig(script string, edits ...func(*cri.ContainerConfig)) *cri.ContainerConfig {
	name := fmt.Sprintf("container%d", number.Add(1))
	ns := proto.Clone(namespaces(p.config)).(*cri.NamespaceOption)
	ns.Pid = cri.NamespaceMode_CONTAINER
	c := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: name},
		Image:    &cri.ImageSpec{Image: busybox},
		Command:  []string{"/bin/sh", "-c"},
		Args:     []string{script},
		LogPath:  name + ".log",
		Linux: &cri.LinuxContainerConfig{
			Resources:       &cri.LinuxContainerResources{},
			SecurityContext: &cri.LinuxContainerSecurityContext{NamespaceOptions: ns},
		},
	}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

// tryCreate is CreateContainer.
func (p *pod) tryCreate(config *cri.ContainerConfig) (string, error) {
	r, err := p.runtime.CreateContainer(p.Context(), &cri.CreateContainerRequest{PodSandboxId: p.id, Config: config, SandboxConfig: p.config})
	return r.GetContainerId(), err
}

func (p *pod) create(config *cri.ContainerConfig) *workload {
	p.Helper()
	id, err := p.tryCreate(config)
	p.must("CreateContainer", err)
	return &workload{pod: p, id: id, logName: config.GetLogPath()}
}

// container creates and starts a container of the script.
func (p *pod) container(script string, edits ...func(*cri.ContainerConfig)) *workload {
	p.Helper()
	c := p.create(p.containerConfig(script, edits...))
	c.start()
	return c
}

// output runs a script to its end and returns what it wrote.
func (p *pod) output(script string, edits ...func(*cri.ContainerConfig)) string {
	p.Helper()
	c := p.container(script, edits...)
	c.awaitExit()
	return c.log()
}

// in is the same container in the hands of a part of the test.
func (c *workload) in(n *node) *workload { return &workload{c.pod.in(n), c.id, c.pid, c.logName} }

func (c *workload) start() {
	c.Helper()
	_, err := c.runtime.StartContainer(c.Context(), &cri.StartContainerRequest{ContainerId: c.id})
	c.must("StartContainer", err)
	c.pid = c.engine.inspect(c, c.id).State.Pid
}

func (c *workload) stop(seconds int64) {
	c.Helper()
	_, err := c.runtime.StopContainer(c.Context(), &cri.StopContainerRequest{ContainerId: c.id, Timeout: seconds})
	c.must("StopContainer", err)
}

func (c *workload) remove() {
	c.Helper()
	_, err := c.runtime.RemoveContainer(c.Context(), &cri.RemoveContainerRequest{ContainerId: c.id})
	c.must("RemoveContainer", err)
}

func (c *workload) status() *cri.ContainerStatus {
	c.Helper()
	r, err := c.runtime.ContainerStatus(c.Context(), &cri.ContainerStatusRequest{ContainerId: c.id})
	c.must("ContainerStatus", err)
	return r.GetStatus()
}

func (c *workload) running() bool {
	c.Helper()
	return c.status().GetState() == cri.ContainerState_CONTAINER_RUNNING
}

// awaitExit waits until the daemon shows the container's end.
func (c *workload) awaitExit() *cri.ContainerStatus {
	c.Helper()
	eventually(c, "the container ends", func() bool { return c.status().GetState() == cri.ContainerState_CONTAINER_EXITED })
	return c.status()
}

// log is what the container wrote, read from where the kubelet would.
func (c *workload) log() string {
	c.Helper()
	text, err := os.ReadFile(c.status().GetLogPath())
	c.must("read the log", err)
	return c.written(text)
}

// awaitLog waits until the container has written the text.
func (c *workload) awaitLog(text string) {
	c.Helper()
	eventually(c, fmt.Sprintf("the container writes %q", text), func() bool { return strings.Contains(c.log(), text) })
}

// proc reads a file of the container's process in the node's /proc.
func (c *workload) proc(name string) string {
	c.Helper()
	c.awaitExec()
	text, err := os.ReadFile(c.procPath(name))
	c.must("look at the container's process", err)
	return string(text)
}

// namespace identifies one that the container's process is in.
func (c *workload) namespace(kind string) string {
	c.Helper()
	c.awaitExec()
	link, err := os.Readlink(c.procPath("ns/" + kind))
	c.must("look at the container's namespace", err)
	return link
}

// file reads a file as the container sees it.
func (c *workload) file(path string) string {
	c.Helper()
	return c.proc(filepath.Join("root", path))
}

func (c *workload) procPath(name string) string {
	return filepath.Join("/proc", fmt.Sprint(c.pid), name)
}

// awaitExec waits until runc's own process has become the container's; the
// engine answers to a start a moment earlier.
func (c *workload) awaitExec() {
	c.Helper()
	eventually(c, "runc executes the command", func() bool {
		comm, err := os.ReadFile(c.procPath("comm"))
		c.must("look at the container's process", err)
		return !strings.HasPrefix(string(comm), "runc")
	})
}

// field is the value of a line of /proc/PID/status, or one like it.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// ownNamespace identifies one of the node's namespaces.
func (n *node) ownNamespace(kind string) string {
	n.Helper()
	link, err := os.Readlink("/proc/self/ns/" + kind)
	n.must("look at the node's namespace", err)
	return link
}
