// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"testing"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestDeprecatedProfiles(t *testing.T) {
	unconfined := &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}
	byDefault := &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}
	for _, c := range []struct {
		field *cri.SecurityProfile
		old   string
		want  *cri.SecurityProfile
	}{
		{nil, "", nil},
		{unconfined, "", unconfined},
		{unconfined, "runtime/default", unconfined}, // the field counts
		{nil, "runtime/default", byDefault},
		{nil, "docker/default", byDefault},
		{nil, "unconfined", unconfined},
		{nil, "localhost/web", localhost("web")},
		{nil, "localhost//profiles/web.json", localhost("/profiles/web.json")},
		{nil, "localhost/", localhost("")},
		{nil, "web", localhost("")},
		{nil, "Unconfined", localhost("")},
	} {
		if got := profile(c.field, c.old); !proto.Equal(got, c.want) {
			t.Errorf("profile(%v, %q) = %v, want %v", c.field, c.old, got, c.want)
		}
	}
}

func TestSeccompFile(t *testing.T) {
	for _, c := range []struct {
		field *cri.SecurityProfile
		old   string
		want  string
	}{
		{nil, "", ""},
		{nil, "unconfined", ""},
		{nil, "localhost//p.json", "/p.json"},
		{localhost("/q.json"), "localhost//p.json", "/q.json"},
		{&cri.SecurityProfile{LocalhostRef: "/q.json"}, "", ""},
	} {
		if got := SeccompFile(c.field, c.old); got != c.want {
			t.Errorf("SeccompFile(%v, %q) = %q, want %q", c.field, c.old, got, c.want)
		}
	}
}

func TestUnknownValuesAreRefused(t *testing.T) {
	for about, sc := range map[string]*cri.LinuxContainerSecurityContext{
		"seccomp profile type":  {Seccomp: &cri.SecurityProfile{ProfileType: 9}},
		"AppArmor profile type": {Apparmor: &cri.SecurityProfile{ProfileType: 9}},
		"groups policy":         {SupplementalGroupsPolicy: 9},
		"network mode":          {NamespaceOptions: &cri.NamespaceOption{Network: 9}},
		"PID mode":              {NamespaceOptions: &cri.NamespaceOption{Pid: 9}},
		"IPC mode":              {NamespaceOptions: &cri.NamespaceOption{Ipc: 9}},
		"user namespace mode":   {NamespaceOptions: &cri.NamespaceOption{UsernsOptions: &cri.UserNamespace{Mode: 9}}},
	} {
		c := validContainer()
		c.Linux = &cri.LinuxContainerConfig{SecurityContext: sc}
		if _, _, err := ContainerBody(capable(), Container{Config: c, Metadata: podMetadata()}); err == nil {
			t.Errorf("an unknown %s is taken", about)
		}
	}
}

func TestUserNamespaces(t *testing.T) {
	mappings := []*cri.IDMapping{{HostId: 100000, Length: 65536}}
	for _, c := range []struct {
		about   string
		options *cri.UserNamespace
		refused bool
	}{
		{"none", nil, false},
		{"the node's", &cri.UserNamespace{Mode: cri.NamespaceMode_NODE}, false},
		{"the pod's own", &cri.UserNamespace{Mode: cri.NamespaceMode_POD, Uids: mappings, Gids: mappings}, true},
		{"the node's, with mappings", &cri.UserNamespace{Mode: cri.NamespaceMode_NODE, Gids: mappings}, true},
	} {
		var p problems
		checkNamespaces(&p, "namespace_options", &cri.NamespaceOption{UsernsOptions: c.options})
		if (len(p) > 0) != c.refused {
			t.Errorf("%s: %v, want refused: %v", c.about, p, c.refused)
		}
	}
}
