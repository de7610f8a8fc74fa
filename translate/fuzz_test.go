// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// identity is what a Docker name is made of; an empty container is a sandbox.
type identity struct {
	container, pod, namespace, uid string
	attempt                        uint32
}

// dockerName is the name, and whether a request for it is accepted.
func (i identity) dockerName() (name string, accepted bool) {
	pod := &cri.PodSandboxMetadata{Name: i.pod, Namespace: i.namespace, Uid: i.uid}
	if i.container == "" {
		pod.Attempt = i.attempt
		body, _, err := SandboxBody(capable(), Sandbox{Config: &cri.PodSandboxConfig{Metadata: pod}})
		return body.Name, err == nil
	}
	if _, _, err := SandboxBody(capable(), Sandbox{Config: &cri.PodSandboxConfig{Metadata: pod}}); err != nil {
		return "", false // no container without its sandbox
	}
	body, _, err := ContainerBody(capable(), Container{
		Config: &cri.ContainerConfig{Metadata: &cri.ContainerMetadata{Name: i.container, Attempt: i.attempt}}, Metadata: pod,
	})
	return body.Name, err == nil
}

// FuzzNames: two things that are not the same have not the same name, and the
// engine takes both.
func FuzzNames(f *testing.F) {
	f.Add("app", "web", "default", "5c7c", uint32(0), "app", "web", "default", "5c7c", uint32(1))
	f.Add("", "web", "default", "5c7c", uint32(0), "POD", "web", "default", "5c7c", uint32(0))
	f.Add("", "a_b", "c", "d", uint32(0), "", "a", "b_c", "d", uint32(0))
	f.Add("a", "b", "c", "d_0", uint32(1), "a_b", "c", "d", "0", uint32(1))
	f.Fuzz(func(t *testing.T, c1, p1, n1, u1 string, a1 uint32, c2, p2, n2, u2 string, a2 uint32) {
		one, other := identity{c1, p1, n1, u1, a1}, identity{c2, p2, n2, u2, a2}
		oneName, ok1 := one.dockerName()
		otherName, ok2 := other.dockerName()
		if !ok1 || !ok2 {
			return
		}
		if (oneName == otherName) != (one == other) {
			t.Errorf("%+v is called %s, %+v is called %s", one, oneName, other, otherName)
		}
		if !dockerNamePattern.MatchString(oneName) {
			t.Errorf("%+v is called %s, which the engine refuses", one, oneName)
		}
	})
}

// FuzzLabels: labels and annotations come back as they went.
func FuzzLabels(f *testing.F) {
	f.Add("app", "web", "note", "x", "tier", "")
	f.Add("annotation.x", "1", "x", "2", escapePrefix+"x", "3")
	f.Add(labelKeys, "[]", labelType, "mine", labelContainerName, "POD")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3 string) {
		for _, s := range []string{k1, v1, k2, v2, k3, v3} {
			if !utf8.ValidString(s) {
				return // neither protobuf nor JSON has it
			}
		}
		labels, annotations := stringMap{k1: v1, k3: v3}, stringMap{k2: v2, k1: v3}
		for _, sandbox := range []bool{true, false} {
			docker := containerLabels(Container{Config: &cri.ContainerConfig{Labels: labels, Annotations: annotations}})
			if sandbox {
				docker = sandboxLabels(Sandbox{Config: &cri.PodSandboxConfig{Labels: labels, Annotations: annotations}})
			}
			docker["of the image"] = v1
			gotLabels, gotAnnotations := labelsAndAnnotations(docker, sandbox)
			if _, asked := labels["of the image"]; !asked {
				if !maps.Equal(gotLabels, labels) || !maps.Equal(gotAnnotations, annotations) {
					t.Errorf("sandbox %v: labels %q and annotations %q come back as %q and %q", sandbox, labels, annotations, gotLabels, gotAnnotations)
				}
			}
			if IsSandbox(docker) != sandbox {
				t.Errorf("labels %q change what the object is", labels)
			}
		}
	})
}

// FuzzDNS: what is accepted has as many lines and words as were asked for.
func FuzzDNS(f *testing.F) {
	f.Add("10.96.0.10", "cluster.local", "ndots:5")
	f.Add("10.96.0.10\nnameserver 192.0.2.1", "a b", "")
	f.Fuzz(func(t *testing.T, server, search, option string) {
		dns := &cri.DNSConfig{Servers: []string{server, "192.0.2.2"}, Searches: []string{search, "local"}, Options: []string{option, "rotate"}}
		var p problems
		checkDNS(&p, "dns_config", dns)
		if len(p) > 0 {
			return
		}
		want := [][]string{{"search", search, "local"}, {"nameserver", server}, {"nameserver", "192.0.2.2"}, {"options", option, "rotate"}}
		var got [][]string
		for line := range strings.Lines(ResolvConf(dns)) {
			got = append(got, strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n\x00", r) }))
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// FuzzMounts: what is accepted is absolute, and the status shows it as asked.
func FuzzMounts(f *testing.F) {
	f.Add("/srv", "/data", true, true, int32(0), "1.51")
	f.Add("/srv/", "/data/../etc//x", true, false, int32(1), "1.41")
	f.Add("srv", "", false, true, int32(7), "")
	f.Fuzz(func(t *testing.T, host, target string, readonly, recursive bool, propagation int32, api string) {
		facts := capable()
		facts.APIVersion = api
		asked := &cri.Mount{
			HostPath: host, ContainerPath: target, Readonly: readonly, RecursiveReadOnly: recursive,
			Propagation: cri.MountPropagation(propagation),
		}
		c := validContainer()
		c.Mounts = []*cri.Mount{asked}
		body, _, err := ContainerBody(facts, Container{Config: c, Metadata: podMetadata()})
		if err != nil {
			return
		}
		if m := body.Host.Mounts[0]; !path.IsAbs(m.Target) || !path.IsAbs(m.Source) {
			t.Errorf("%q on %q is not absolute", m.Source, m.Target)
		}
		asked.HostPath, asked.ContainerPath = path.Clean(host), path.Clean(target)
		got := ContainerStatus(CreatedInspect(body, "c1", "", time.Time{}), nil).Mounts
		if len(got) != 1 || !proto.Equal(got[0], asked) {
			t.Errorf("%v, want %v", got, asked)
		}
	})
}

// FuzzContainerBody: no request, however odd, brings this package down, and
// what is accepted reads back.
func FuzzContainerBody(f *testing.F) {
	for _, c := range []*cri.ContainerConfig{{}, validContainer(), oddContainer()} {
		f.Add(marshal(f, c))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		var c cri.ContainerConfig
		if proto.Unmarshal(request, &c) != nil {
			return
		}
		body, _, err := ContainerBody(capable(), Container{
			Config: &c, Pod: validSandbox(), Metadata: podMetadata(), Profiles: profilesOf(c.GetLinux().GetSecurityContext()),
		})
		if err != nil {
			return
		}
		s := ContainerStatus(CreatedInspect(body, "c1", "", time.Time{}), nil)
		if !proto.Equal(s.Metadata, plain(c.Metadata)) || !maps.Equal(s.Labels, c.Labels) || !maps.Equal(s.Annotations, c.Annotations) {
			t.Errorf("%v comes back as %v, %v, %v", &c, s.Metadata, s.Labels, s.Annotations)
		}
	})
}

// FuzzSandboxBody is FuzzContainerBody for sandboxes.
func FuzzSandboxBody(f *testing.F) {
	for _, c := range []*cri.PodSandboxConfig{{}, validSandbox(), oddSandbox()} {
		f.Add(marshal(f, c))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		var c cri.PodSandboxConfig
		if proto.Unmarshal(request, &c) != nil {
			return
		}
		body, _, err := SandboxBody(capable(), Sandbox{Config: &c, Profiles: profilesOf(c.GetLinux().GetSecurityContext())})
		if err != nil {
			return
		}
		s := SandboxStatus(CreatedInspect(body, "s1", "", time.Time{}), nil)
		if !proto.Equal(s.Metadata, plain(c.Metadata)) || !maps.Equal(s.Labels, c.Labels) || !maps.Equal(s.Annotations, c.Annotations) {
			t.Errorf("%v comes back as %v, %v, %v", &c, s.Metadata, s.Labels, s.Annotations)
		}
	})
}

func marshal(f *testing.F, m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// plain is a message without the fields that this version of CRI does not know.
func plain[M proto.Message](m M) M {
	m = proto.CloneOf(m)
	m.ProtoReflect().SetUnknown(nil)
	return m
}

// oddContainer holds messages without content, and nothing that fits.
func oddContainer() *cri.ContainerConfig {
	return &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{}, Image: &cri.ImageSpec{},
		Envs: []*cri.KeyValue{{}}, Mounts: []*cri.Mount{{Image: &cri.ImageSpec{}}}, Devices: []*cri.Device{{}}, CDIDevices: []*cri.CDIDevice{{}},
		Linux: &cri.LinuxContainerConfig{
			Resources: &cri.LinuxContainerResources{HugepageLimits: []*cri.HugepageLimit{{}}},
			SecurityContext: &cri.LinuxContainerSecurityContext{
				Capabilities: &cri.Capability{}, NamespaceOptions: &cri.NamespaceOption{UsernsOptions: &cri.UserNamespace{}},
				Seccomp: localhost(""), Apparmor: localhost(""), SelinuxOptions: &cri.SELinuxOption{},
				RunAsUser: &cri.Int64Value{Value: -1}, RunAsGroup: &cri.Int64Value{},
			},
		},
		StopSignal: 99, LogPath: "..",
	}
}

// oddSandbox is oddContainer for sandboxes.
func oddSandbox() *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{}, DnsConfig: &cri.DNSConfig{Servers: []string{""}}, PortMappings: []*cri.PortMapping{{}},
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent: "..", Sysctls: stringMap{"": ""},
			SecurityContext: &cri.LinuxSandboxSecurityContext{
				NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_TARGET}, Seccomp: localhost(""), Apparmor: localhost(""),
			},
		},
		Windows: &cri.WindowsPodSandboxConfig{},
	}
}
