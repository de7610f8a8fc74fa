// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// container is one that the test has created in a pod.
type container struct {
	*pod
	id     string
	config *cri.ContainerConfig
}

// idle is a script that runs until it is told to end, and then does so at once.
const idle = "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"

// containerConfig is a container that runs a shell script, with edits.
func containerConfig(of *cri.PodSandboxConfig, script string, edits ...func(*cri.ContainerConfig)) *cri.ContainerConfig {
	name := unique("container")
	ns := proto.Clone(namespaces(of)).(*cri.NamespaceOption)
	if ns.GetPid() == cri.NamespaceMode_POD { // the kubelet's default is a namespace of its own
		ns.Pid = cri.NamespaceMode_CONTAINER
	}
	c := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: name},
		Image:    &cri.ImageSpec{Image: suite.image, UserSpecifiedImage: suite.image},
		Command:  []string{"/bin/sh", "-c"},
		Args:     []string{script},
		LogPath:  name + "/0.log",
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

// securely edits a container's security context.
func securely(edit func(*cri.LinuxContainerSecurityContext)) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) { edit(c.Linux.SecurityContext) }
}

// limited edits a container's resources.
func limited(edit func(*cri.LinuxContainerResources)) func(*cri.ContainerConfig) {
	return func(c *cri.ContainerConfig) { edit(c.Linux.Resources) }
}

// tryCreate is CreateContainer. The kubelet makes the log's directory before.
func (p *pod) tryCreate(config *cri.ContainerConfig) (string, error) {
	log := filepath.Join(p.config.GetLogDirectory(), config.GetLogPath())
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return "", err
	}
	r, err := p.runtime.CreateContainer(p.Context(), &cri.CreateContainerRequest{PodSandboxId: p.id, Config: config, SandboxConfig: p.config})
	return r.GetContainerId(), err
}

// create creates a container, which goes with its pod.
func (p *pod) create(script string, edits ...func(*cri.ContainerConfig)) *container {
	p.Helper()
	config := containerConfig(p.config, script, edits...)
	id, err := p.tryCreate(config)
	p.must("CreateContainer", err)
	return &container{p, id, config}
}

// container creates and starts a container of the script.
func (p *pod) container(script string, edits ...func(*cri.ContainerConfig)) *container {
	p.Helper()
	c := p.create(script, edits...)
	p.must("StartContainer", c.start())
	return c
}

// output runs a script to its end and returns what it wrote.
func (p *pod) output(script string, edits ...func(*cri.ContainerConfig)) string {
	p.Helper()
	c := p.container(script, edits...)
	c.awaitExit()
	return c.log()
}

// wantRefused asks for a container that cannot be.
func (p *pod) wantRefused(edit func(*cri.ContainerConfig), words ...string) {
	p.Helper()
	_, err := p.tryCreate(containerConfig(p.config, idle, edit))
	p.wantRefusal(err, words...)
}

// in is the same container in the hands of a part of the test.
func (c *container) in(k *kubelet) *container { return &container{c.pod.in(k), c.id, c.config} }

func (c *container) start() error {
	_, err := c.runtime.StartContainer(context.Background(), &cri.StartContainerRequest{ContainerId: c.id})
	return err
}

func (c *container) stop(seconds int64) error {
	_, err := c.runtime.StopContainer(context.Background(), &cri.StopContainerRequest{ContainerId: c.id, Timeout: seconds})
	return err
}

func (c *container) remove() error {
	_, err := c.runtime.RemoveContainer(context.Background(), &cri.RemoveContainerRequest{ContainerId: c.id})
	return err
}

func (c *container) update(r *cri.LinuxContainerResources) error {
	_, err := c.runtime.UpdateContainerResources(context.Background(), &cri.UpdateContainerResourcesRequest{ContainerId: c.id, Linux: r})
	return err
}

func (c *container) status() *cri.ContainerStatus {
	c.Helper()
	r, err := c.runtime.ContainerStatus(context.Background(), &cri.ContainerStatusRequest{ContainerId: c.id})
	c.must("ContainerStatus", err)
	return r.GetStatus()
}

func (c *container) state() cri.ContainerState {
	c.Helper()
	return c.status().GetState()
}

// wantState checks the state that the status tells.
func (c *container) wantState(when string, want cri.ContainerState) {
	c.Helper()
	if got := c.state(); got != want {
		c.Errorf("%s the container is %s, want %s", when, got, want)
	}
}

// awaitExit waits for the container's end.
func (c *container) awaitExit() *cri.ContainerStatus {
	c.Helper()
	eventually(c, "the container ends", func() bool { return c.state() == cri.ContainerState_CONTAINER_EXITED })
	return c.status()
}

// exec runs a command that must succeed, and returns what it wrote.
func (c *container) exec(command ...string) string {
	c.Helper()
	r, err := c.tryExec(command...)
	c.must("ExecSync", err)
	if r.GetExitCode() != 0 {
		c.Fatalf("%q ended with %d and wrote %q, %q", command, r.GetExitCode(), r.GetStdout(), r.GetStderr())
	}
	return string(r.GetStdout())
}

// sh runs a script in the container.
func (c *container) sh(script string) string {
	c.Helper()
	return c.exec("/bin/sh", "-c", script)
}

func (c *container) tryExec(command ...string) (*cri.ExecSyncResponse, error) {
	return c.runtime.ExecSync(c.Context(), &cri.ExecSyncRequest{ContainerId: c.id, Cmd: command, Timeout: int64(patience.Seconds())})
}

// log is what the container has written so far, without the words that CRI puts
// before each line.
func (c *container) log() string {
	c.Helper()
	text, err := os.ReadFile(c.status().GetLogPath())
	if os.IsNotExist(err) {
		return ""
	}
	c.must("read the log", err)
	var written strings.Builder
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(line, " ", 4) // time, stream, tag, content
		if len(part) != 4 {
			c.Fatalf("a line of the log is %q", line)
		}
		if part[2] == "P" {
			part[3] = strings.TrimSuffix(part[3], "\n")
		}
		written.WriteString(part[3])
	}
	return written.String()
}

// awaitLog waits until the container has written the text.
func (c *container) awaitLog(text string) {
	c.Helper()
	eventually(c, fmt.Sprintf("the container writes %q", text), func() bool { return strings.Contains(c.log(), text) })
}

// namespace identifies one that the container's processes are in.
func (c *container) namespace(kind string) string {
	c.Helper()
	return strings.TrimSpace(c.exec("readlink", "/proc/self/ns/"+kind))
}

// proc reads a file of the container's first process in the node's /proc.
func (c *container) proc(name string) string {
	c.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(c.pid()), name))
	c.must("look at the container's process", err)
	return string(text)
}

// pid is the container's first process on the node: the one that is the first
// of a PID namespace of its own.
func (c *container) pid() int {
	c.Helper()
	want := c.namespace("pid")
	found := 0
	eventually(c, "the container's process is seen on the node", func() bool {
		found = firstOf(want)
		return found != 0
	})
	return found
}

func firstOf(namespace string) (pid int) {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	for _, link := range links {
		if ns, err := os.Readlink(link); err != nil || ns != namespace {
			continue // a process that has ended is not it
		}
		dir := filepath.Dir(filepath.Dir(link))
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if ids := strings.Fields(field(string(status), "NSpid")); err == nil && len(ids) > 1 && ids[len(ids)-1] == "1" {
			_, _ = fmt.Sscan(filepath.Base(dir), &pid)
			return pid
		}
	}
	return 0
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

// onNode is a namespace of the node.
func (k *kubelet) onNode(kind string) string {
	k.Helper()
	link, err := os.Readlink("/proc/self/ns/" + kind)
	k.must("look at the node's namespace", err)
	return link
}
