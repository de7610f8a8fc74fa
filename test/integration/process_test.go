// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestProcess looks at what runs in a container.
func TestProcess(t *testing.T) {
	n := newNode(t)
	n.sub("command, arguments, environment, directory", func(n *node) {
		c := n.pod().container("", func(c *cri.ContainerConfig) {
			c.Command, c.Args = []string{"sleep"}, []string{"1000"}
			c.WorkingDir = "/www"
			c.Envs = []*cri.KeyValue{{Key: "GREETING", Value: []byte("two words, ünïcode")}, {Key: "EMPTY"}}
		})
		if got := c.proc("cmdline"); got != "sleep\x001000\x00" {
			n.Errorf("runs %q", got)
		}
		environment := strings.Split(c.proc("environ"), "\x00")
		for _, want := range []string{"GREETING=two words, ünïcode", "EMPTY=", "PATH=/bin"} {
			if !slices.Contains(environment, want) {
				n.Errorf("no %q in the environment %q", want, environment)
			}
		}
		if dir, err := os.Readlink(c.procPath("cwd")); err != nil || !strings.HasSuffix(dir, "/www") {
			n.Errorf("works in %s, %v", dir, err)
		}
	})
	n.sub("the image's command", func(n *node) {
		p := n.pod()
		config := p.containerConfig("")
		config.Command, config.Args = nil, []string{"/bin/echo", "arguments", "alone"}
		c := p.create(config)
		c.start()
		c.awaitExit()
		if got := c.log(); got != "arguments alone\n" {
			n.Errorf("wrote %q", got)
		}
	})
	n.sub("terminal and input", testTerminal)
}

func testTerminal(n *node) {
	p := n.pod()
	if got := p.output("tty", func(c *cri.ContainerConfig) { c.Tty = true }); !strings.HasPrefix(got, "/dev/") {
		n.Errorf("tty says %q with a terminal", got)
	}
	if got := p.output("tty"); got != "not a tty\n" {
		n.Errorf("tty says %q without a terminal", got)
	}
	open := p.container("cat; echo end of input", func(c *cri.ContainerConfig) { c.Stdin = true })
	closed := p.container("cat; echo end of input")
	closed.awaitExit()
	if !open.running() || closed.log() != "end of input\n" {
		n.Errorf("with input the container has ended or without it wrote %q", closed.log())
	}
}

// TestUser looks at the ids that a container's process has.
func TestUser(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	id := func(v int64) *cri.Int64Value { return &cri.Int64Value{Value: v} }
	for name, test := range map[string]struct {
		image            string
		edit             func(*cri.LinuxContainerSecurityContext)
		uid, gid, groups string
	}{
		"root by default":      {busybox, func(*cri.LinuxContainerSecurityContext) {}, "0", "0", "0"},
		"of the image":         {otherImage, func(*cri.LinuxContainerSecurityContext) {}, "1000", "1000", "1000 50000"},
		"by id":                {busybox, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = id(1234) }, "1234", "0", "0"},
		"by id and group":      {busybox, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser, s.RunAsGroup = id(1234), id(5678) }, "1234", "5678", "5678"},
		"root, over the image": {otherImage, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = id(0) }, "0", "0", "0"},
		"by name":              {busybox, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername = imageUser }, "1000", "1000", "1000 50000"},
		"by name and group":    {busybox, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername, s.RunAsGroup = imageUser, id(77) }, "1000", "77", "77 50000"},
		"supplementary groups": {busybox, func(s *cri.LinuxContainerSecurityContext) {
			s.RunAsUser, s.SupplementalGroups = id(1234), []int64{70, 71}
		}, "1234", "0", "0 70 71"},
		"groups with the image":        {otherImage, func(s *cri.LinuxContainerSecurityContext) { s.SupplementalGroups = []int64{70} }, "1000", "1000", "70 1000 50000"},
		"strictly, of the image":       {otherImage, strictly(func(*cri.LinuxContainerSecurityContext) {}), "1000", "1000", "1000"},
		"strictly, by name":            {busybox, strictly(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername = imageUser }), "1000", "1000", "1000"},
		"strictly, by id":              {busybox, strictly(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = id(1000) }), "1000", "1000", "1000"},
		"strictly, by another id":      {busybox, strictly(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = id(1234) }), "1234", "0", "0"},
		"strictly, root":               {busybox, strictly(func(s *cri.LinuxContainerSecurityContext) {}), "0", "0", "0"},
		"strictly, by id and group":    {busybox, strictly(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser, s.RunAsGroup = id(1000), id(70) }), "1000", "70", "70"},
		"strictly, and others' groups": {otherImage, strictly(func(s *cri.LinuxContainerSecurityContext) { s.SupplementalGroups = []int64{70} }), "1000", "1000", "70 1000"},
	} {
		n.sub(name, func(n *node) {
			c := p.in(n).container(idle, func(c *cri.ContainerConfig) {
				c.Image.Image = test.image
				test.edit(c.Linux.SecurityContext)
			})
			status := c.proc("status")
			uid, gid := strings.Fields(field(status, "Uid"))[0], strings.Fields(field(status, "Gid"))[0]
			if uid != test.uid || gid != test.gid || groupsWithout(field(status, "Groups"), gid) != groupsWithout(test.groups, gid) {
				n.Errorf("user %s, group %s, groups %s; want %s, %s, %s", uid, gid, field(status, "Groups"), test.uid, test.gid, test.groups)
			}
			told := c.status().GetUser().GetLinux()
			groups := strings.Trim(fmt.Sprint(told.GetSupplementalGroups()), "[]")
			if fmt.Sprint(told.GetUid()) != test.uid || fmt.Sprint(told.GetGid()) != test.gid || sortedFields(groups) != sortedFields(field(status, "Groups")) {
				n.Errorf("status says %v, the process has %s", told, field(status, "Groups"))
			}
			c.stop(0)
			if ended := c.status().GetUser().GetLinux(); !proto.Equal(ended, told) {
				n.Errorf("when it has ended, the status says %v", ended)
			}
		})
	}
}

// strictly asks for no groups of the image.
func strictly(edit func(*cri.LinuxContainerSecurityContext)) func(*cri.LinuxContainerSecurityContext) {
	return func(s *cri.LinuxContainerSecurityContext) {
		edit(s)
		s.SupplementalGroupsPolicy = cri.SupplementalGroupsPolicy_Strict
	}
}

func sortedFields(text string) string {
	return strings.Join(slices.Sorted(slices.Values(strings.Fields(text))), " ")
}

// groupsWithout leaves out the primary group: whether it is among the others
// too depends on the engine.
func groupsWithout(groups, primary string) string {
	others := slices.DeleteFunc(strings.Fields(groups), func(g string) bool { return g == primary })
	return strings.Join(others, " ")
}
