// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func value(v int64) *cri.Int64Value { return &cri.Int64Value{Value: v} }

// TestGroups looks at the ids of processes, by the two policies, and at what the
// status says of them.
func TestGroups(t *testing.T) {
	k := newKubelet(t)
	k.needOwnImages()
	p := k.pod()
	const merge, strict = cri.SupplementalGroupsPolicy_Merge, cri.SupplementalGroupsPolicy_Strict
	for name, test := range map[string]struct {
		image            string
		policy           cri.SupplementalGroupsPolicy
		edit             func(*cri.LinuxContainerSecurityContext)
		uid, gid, groups string
	}{
		"root":                      {busybox, merge, func(*cri.LinuxContainerSecurityContext) {}, "0", "0", ""},
		"the image's":               {userImage, merge, func(*cri.LinuxContainerSecurityContext) {}, "1000", "1000", "50000"},
		"by id":                     {busybox, merge, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = value(1000) }, "1000", "1000", "50000"},
		"by name":                   {busybox, merge, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername = appUser }, "1000", "1000", "50000"},
		"by id and group":           {busybox, merge, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser, s.RunAsGroup = value(1000), value(77) }, "1000", "77", "50000"},
		"of nobody":                 {busybox, merge, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = value(1234) }, "1234", "0", ""},
		"with others":               {userImage, merge, func(s *cri.LinuxContainerSecurityContext) { s.SupplementalGroups = []int64{70, 71} }, "1000", "1000", "70 71 50000"},
		"strictly, root":            {busybox, strict, func(*cri.LinuxContainerSecurityContext) {}, "0", "0", ""},
		"strictly, the image's":     {userImage, strict, func(*cri.LinuxContainerSecurityContext) {}, "1000", "1000", ""},
		"strictly, by id":           {busybox, strict, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = value(1000) }, "1000", "1000", ""},
		"strictly, by name":         {busybox, strict, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername = appUser }, "1000", "1000", ""},
		"strictly, by id and group": {busybox, strict, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser, s.RunAsGroup = value(1000), value(77) }, "1000", "77", ""},
		"strictly, of nobody":       {busybox, strict, func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = value(1234) }, "1234", "0", ""},
		"strictly, with others":     {userImage, strict, func(s *cri.LinuxContainerSecurityContext) { s.SupplementalGroups = []int64{70, 71} }, "1000", "1000", "70 71"},
		"strictly, the pod's fsGroup": {busybox, strict, func(s *cri.LinuxContainerSecurityContext) {
			s.RunAsUser, s.SupplementalGroups = value(1000), []int64{2000}
		}, "1000", "1000", "2000"},
	} {
		k.sub(name, func(k *kubelet) {
			p := p.in(k)
			edit := func(c *cri.ContainerConfig) {
				c.Image = &cri.ImageSpec{Image: suite.registry.ref(test.image)}
				c.Linux.SecurityContext.SupplementalGroupsPolicy = test.policy
				test.edit(c.Linux.SecurityContext)
			}
			if features, _ := k.features(); test.policy == strict && !features.GetSupplementalGroupsPolicy() {
				p.wantRefused(edit, "supplemental_groups_policy")
				return
			}
			c := p.container(idle, edit)
			status := c.proc("status")
			uid, gid := strings.Fields(field(status, "Uid"))[0], strings.Fields(field(status, "Gid"))[0]
			groups := strings.Fields(field(status, "Groups"))
			if uid != test.uid || gid != test.gid || others(groups, gid) != others(strings.Fields(test.groups), gid) {
				k.Errorf("the process is of user %s, group %s, groups %s; want %s, %s, %q", uid, gid, groups, test.uid, test.gid, test.groups)
			}
			c.wantUser(uid, gid, groups)
			// Commands run as the same user.
			if got := strings.Fields(c.exec("id", "-G")); others(got, gid) != others(groups, gid) {
				k.Errorf("a command is of the groups %s, the container of %s", got, groups)
			}
		})
	}
}

// wantUser compares the user in the status with the process's, where the runtime
// says that it has such a thing.
func (c *container) wantUser(uid, gid string, groups []string) {
	c.Helper()
	if features, _ := c.features(); !features.GetSupplementalGroupsPolicy() {
		return
	}
	told := c.status().GetUser().GetLinux()
	toldGroups := strings.Fields(strings.Trim(fmt.Sprint(told.GetSupplementalGroups()), "[]"))
	if fmt.Sprint(told.GetUid()) != uid || fmt.Sprint(told.GetGid()) != gid || others(toldGroups, gid) != others(groups, gid) {
		c.Errorf("the status says %v", told)
	}
}

// others leaves out the primary group: whether it is among the others too is the
// runtime's choice.
func others(groups []string, primary string) string {
	rest := slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return g == primary })
	slices.Sort(rest)
	return strings.Join(rest, " ")
}

// TestUsersRefused: who is not in the image, and a group without a user.
func TestUsersRefused(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	for name, test := range map[string]struct {
		edit func(*cri.LinuxContainerSecurityContext)
		word string
	}{
		"nobody of that name":  {func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername = "nobody-of-that-name" }, "nobody-of-that-name"},
		"group without a user": {func(s *cri.LinuxContainerSecurityContext) { s.RunAsGroup = value(1) }, "group"},
		"a negative user":      {func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = value(-1) }, "user"},
		"a negative group":     {func(s *cri.LinuxContainerSecurityContext) { s.SupplementalGroups = []int64{-1} }, "group"},
	} {
		k.sub(name, func(k *kubelet) {
			p := p.in(k)
			config := containerConfig(p.config, idle, securely(test.edit))
			id, err := p.tryCreate(config)
			if err == nil { // some runtimes look for users when they start
				c := &container{p, id, config}
				err = c.start()
				k.must("RemoveContainer", c.remove())
			}
			k.wantRefusal(err, test.word)
		})
	}
}
