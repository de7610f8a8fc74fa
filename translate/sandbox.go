// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Body is what the engine takes to create a container.
type Body struct {
	Name   string
	Config *container.Config
	Host   *container.HostConfig
}

// Sandbox is a RunPodSandbox request with what had to be found out for it.
type Sandbox struct {
	Config *cri.PodSandboxConfig
	// Handler is the runtime handler as asked for; "" is the default.
	Handler string
	// PauseImage is the image of the pause container.
	PauseImage string
	Profiles   Profiles
}

// maxHostname is the kernel's limit (uname(2), HOST_NAME_MAX).
const maxHostname = 64

// SandboxBody is the pause container of a sandbox: it holds the pod's
// namespaces, in which network will attach it. The error lists everything that
// is wrong with the request.
func SandboxBody(f Facts, s Sandbox) (Body, []Notice, error) {
	runtime, err := checkSandbox(f, s)
	if err != nil {
		return Body{}, nil, err
	}
	sc := s.Config.GetLinux().GetSecurityContext()
	const field = "config.linux.security_context"
	score, notices := oomScore(f, "sandbox oom_score_adj", sandboxOOMScoreAdj)
	label, n := selinuxOpts(f, field+".selinux_options", sc.GetSelinuxOptions())
	notices = append(notices, n...)
	return Body{
		Name: sandboxDockerName(s.Config.GetMetadata()),
		Config: &container.Config{
			Image:       s.PauseImage,
			Hostname:    s.Config.GetHostname(),
			Labels:      sandboxLabels(s),
			User:        sandboxUser(sc),
			Healthcheck: noHealthcheck(),
		},
		Host: &container.HostConfig{
			NetworkMode:   sandboxNetwork(sc.GetNamespaceOptions()),
			IpcMode:       sandboxIPC(sc.GetNamespaceOptions()),
			PidMode:       sandboxPID(sc.GetNamespaceOptions()),
			UTSMode:       uts(sc.GetNamespaceOptions(), s.Config.GetHostname()),
			CgroupnsMode:  cgroupns(f, sc.GetPrivileged()),
			Privileged:    sc.GetPrivileged(),
			GroupAdd:      groupAdd(sc.GetSupplementalGroups()),
			SecurityOpt:   slices.Concat([]string{optNoNewPrivileges}, seccompOpts(sc, s.Profiles), appArmorOpts(f, sc.GetApparmor()), label),
			Sysctls:       s.Config.GetLinux().GetSysctls(),
			Runtime:       runtime,
			OomScoreAdj:   score,
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
			// Pause writes nothing.
			LogConfig:      container.LogConfig{Type: "none"},
			ReadonlyRootfs: sc.GetReadonlyRootfs(),
			Init:           new(bool),
			Resources: container.Resources{
				CgroupParent: cgroupParent(f, s.Config.GetLinux().GetCgroupParent()),
				CPUShares:    sandboxCPUShares,
			},
		},
	}, notices, nil
}

// checkSandbox returns the engine's runtime for the handler, since finding it
// is the check.
func checkSandbox(f Facts, s Sandbox) (runtime string, err error) {
	var p problems
	c, sc := s.Config, s.Config.GetLinux().GetSecurityContext()
	const field = "config.linux.security_context"
	checkSandboxMetadata(&p, "config.metadata", c.GetMetadata())
	if len(c.GetHostname()) > maxHostname {
		p.add("config.hostname", "%q is longer than %d bytes", c.GetHostname(), maxHostname)
	}
	checkDNS(&p, "config.dns_config", c.GetDnsConfig())
	checkPorts(&p, "config.port_mappings", c.GetPortMappings())
	checkNamespaces(&p, field+".namespace_options", sc.GetNamespaceOptions())
	if sc.GetNamespaceOptions().GetPid() == cri.NamespaceMode_TARGET {
		p.add(field+".namespace_options.pid", "TARGET is for containers only")
	}
	checkSysctls(&p, "config.linux.sysctls", c.GetLinux().GetSysctls(), sc.GetNamespaceOptions())
	checkSeccomp(&p, field, sc, s.Profiles)
	checkAppArmor(&p, f, field+".apparmor", sc.GetApparmor(), s.Profiles)
	checkUser(&p, field, sc, "")
	checkCgroupParent(&p, f, "config.linux.cgroup_parent", c.GetLinux().GetCgroupParent())
	if c.GetWindows() != nil {
		p.add("config.windows", "this node runs Linux")
	}
	runtime, err = f.Runtime(s.Handler)
	if err != nil {
		p = append(p, problem{err.Error(), err})
	}
	return runtime, p.err()
}

func checkPorts(p *problems, field string, ports []*cri.PortMapping) {
	for i, m := range ports {
		at := field + "[" + strconv.Itoa(i) + "]"
		if m.GetContainerPort() < 1 || m.GetContainerPort() > 65535 {
			p.add(at+".container_port", "%d is outside 1 to 65535", m.GetContainerPort())
		}
		if m.GetHostPort() < 0 || m.GetHostPort() > 65535 {
			p.add(at+".host_port", "%d is outside 0 to 65535", m.GetHostPort())
		}
		if _, known := cri.Protocol_name[int32(m.GetProtocol())]; !known {
			p.add(at+".protocol", "%d is unknown", m.GetProtocol())
		}
		if _, err := netip.ParseAddr(m.GetHostIp()); m.GetHostIp() != "" && err != nil {
			p.add(at+".host_ip", "%q is no IP address", m.GetHostIp())
		}
	}
}

// sandboxUser: under the strict policy a user without a group gets the root
// group, as Docker would give it in an image that knows no users, such as pause's.
func sandboxUser(sc *cri.LinuxSandboxSecurityContext) string {
	u := user(sc, "")
	if strict(sc) && u != "" && sc.GetRunAsGroup() == nil {
		u += ":0"
	}
	return u
}

// sandboxNetwork: Docker attaches the pause container to nothing; CNI does.
func sandboxNetwork(ns *cri.NamespaceOption) container.NetworkMode {
	if hostNetwork(ns) {
		return "host"
	}
	return "none"
}

// sandboxIPC: shareable, so that the pod's containers can join.
func sandboxIPC(ns *cri.NamespaceOption) container.IpcMode {
	if hostIPC(ns) {
		return container.IPCModeHost
	}
	return container.IPCModeShareable
}

func sandboxPID(ns *cri.NamespaceOption) container.PidMode {
	if ns.GetPid() == cri.NamespaceMode_NODE {
		return "host"
	}
	return ""
}

// uts: who shares the node's network shares its host name, as dockershim had
// it, unless the pod brings one of its own.
func uts(ns *cri.NamespaceOption, hostname string) container.UTSMode {
	if hostNetwork(ns) && hostname == "" {
		return "host"
	}
	return ""
}

// noHealthcheck switches off what the image may bring: probes are the kubelet's.
func noHealthcheck() *container.HealthConfig {
	return &container.HealthConfig{Test: []string{"NONE"}}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
