// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/moby/sys/capability"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Profiles holds what a request's security profiles refer to, read beforehand.
type Profiles struct {
	// Seccomp is the JSON text that a Localhost seccomp profile names.
	Seccomp string
	// AppArmor are the names of the profiles loaded into the kernel.
	AppArmor []string
}

const (
	optUnconfinedSeccomp  = "seccomp=unconfined"
	optUnconfinedAppArmor = "apparmor=unconfined"
	optNoNewPrivileges    = "no-new-privileges"
)

// The forms of the deprecated profile strings (kubernetes.io, seccomp and
// AppArmor annotations).
const (
	oldRuntimeDefault = "runtime/default"
	oldDockerDefault  = "docker/default"
	oldUnconfined     = "unconfined"
	oldLocalhost      = "localhost/"
)

// profile reads a security profile from the new field, or else from the
// deprecated string. It is nil when neither says anything. A string of no known
// form becomes a Localhost profile without a reference, which no check passes.
func profile(field *cri.SecurityProfile, old string) *cri.SecurityProfile {
	if field != nil || old == "" {
		return field
	}
	switch old {
	case oldRuntimeDefault, oldDockerDefault:
		return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}
	case oldUnconfined:
		return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}
	}
	ref, _ := strings.CutPrefix(old, oldLocalhost)
	if ref == old {
		ref = ""
	}
	return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: ref}
}

// securityContext is what the sandbox's and the container's security contexts
// have in common; either message satisfies it, nil ones included.
type securityContext interface {
	GetPrivileged() bool
	GetSelinuxOptions() *cri.SELinuxOption
	GetSeccomp() *cri.SecurityProfile
	GetSeccompProfilePath() string
	GetApparmor() *cri.SecurityProfile
	GetNamespaceOptions() *cri.NamespaceOption
	GetRunAsUser() *cri.Int64Value
	GetRunAsGroup() *cri.Int64Value
	GetSupplementalGroups() []int64
	GetSupplementalGroupsPolicy() cri.SupplementalGroupsPolicy
}

// SeccompFile is the path of the profile that has to be read for a security
// context's seccomp field and its deprecated string; empty when there is none.
func SeccompFile(field *cri.SecurityProfile, old string) string {
	p := profile(field, old)
	if p.GetProfileType() == cri.SecurityProfile_Localhost {
		return p.GetLocalhostRef()
	}
	return ""
}

// seccompOpts: no profile at all means unconfined, as api.proto has it, while
// Docker's own default is what CRI calls RuntimeDefault. Privileged containers
// are never confined.
func seccompOpts(sc securityContext, profiles Profiles) []string {
	p := profile(sc.GetSeccomp(), sc.GetSeccompProfilePath())
	switch {
	case sc.GetPrivileged() || p == nil || p.ProfileType == cri.SecurityProfile_Unconfined:
		return []string{optUnconfinedSeccomp}
	case p.ProfileType == cri.SecurityProfile_Localhost:
		return []string{"seccomp=" + profiles.Seccomp}
	}
	return nil
}

// checkProfile refuses what no kind of profile allows.
func checkProfile(p *problems, field string, sp *cri.SecurityProfile) {
	if _, known := cri.SecurityProfile_ProfileType_name[int32(sp.GetProfileType())]; !known {
		p.add(field+".profile_type", "%d is unknown", sp.GetProfileType())
	}
	if sp.GetProfileType() != cri.SecurityProfile_Localhost && sp.GetLocalhostRef() != "" {
		p.add(field+".localhost_ref", "is only for profiles of type Localhost")
	}
}

func checkSeccomp(p *problems, field string, sc securityContext, profiles Profiles) {
	sp := profile(sc.GetSeccomp(), sc.GetSeccompProfilePath())
	checkProfile(p, field+".seccomp", sp)
	if sp.GetProfileType() != cri.SecurityProfile_Localhost || sc.GetPrivileged() {
		return
	}
	ref := sp.GetLocalhostRef()
	switch {
	case ref == "":
		p.add(field+".seccomp", "names no seccomp profile")
	case !path.IsAbs(ref):
		p.add(field+".seccomp.localhost_ref", "%q is not the absolute path of a profile", ref)
	case strings.TrimSpace(profiles.Seccomp) == "":
		p.add(field+".seccomp.localhost_ref", "%s is empty", ref)
	case !isObject(profiles.Seccomp):
		p.add(field+".seccomp.localhost_ref", "%s is not a JSON object", ref)
	}
}

func isObject(text string) bool {
	return json.Valid([]byte(text)) && strings.HasPrefix(strings.TrimSpace(text), "{")
}

// appArmorOpts: RuntimeDefault is Docker's default too. On a kernel without
// AppArmor there is nothing to ask for.
func appArmorOpts(f Facts, sp *cri.SecurityProfile) []string {
	switch {
	case !f.AppArmor || sp == nil:
		return nil
	case sp.ProfileType == cri.SecurityProfile_Unconfined:
		return []string{optUnconfinedAppArmor}
	case sp.ProfileType == cri.SecurityProfile_Localhost:
		return []string{"apparmor=" + sp.GetLocalhostRef()}
	}
	return nil
}

// checkAppArmor looks for itself: an engine whose kernel has no AppArmor takes
// any profile in silence.
func checkAppArmor(p *problems, f Facts, field string, sp *cri.SecurityProfile, profiles Profiles) {
	checkProfile(p, field, sp)
	if sp.GetProfileType() != cri.SecurityProfile_Localhost {
		return
	}
	ref := sp.GetLocalhostRef()
	switch {
	case ref == "":
		p.add(field, "names no AppArmor profile")
	case !f.AppArmor:
		p.lack(field, "profile %q cannot be enforced: AppArmor is not enabled on this node", ref)
	case !slices.Contains(profiles.AppArmor, ref):
		p.lack(field, "AppArmor profile %q is not loaded; load it with apparmor_parser", ref)
	}
}

// selinuxOpts are Docker's label options.
func selinuxOpts(f Facts, field string, o *cri.SELinuxOption) ([]string, []Notice) {
	var opts []string
	for _, part := range []struct{ key, value string }{
		{"user", o.GetUser()}, {"role", o.GetRole()}, {"type", o.GetType()}, {"level", o.GetLevel()},
	} {
		if part.value != "" {
			opts = append(opts, "label="+part.key+":"+part.value)
		}
	}
	if len(opts) > 0 && !f.SELinux {
		return nil, []Notice{{field, "SELinux is not enabled on this node: no label set"}}
	}
	return opts, nil
}

// user is Docker's form of the user and group to run as.
func user(sc securityContext, name string) string {
	u := name
	if sc.GetRunAsUser() != nil {
		u = strconv.FormatInt(sc.GetRunAsUser().GetValue(), 10)
	}
	if sc.GetRunAsGroup() != nil && u != "" {
		u += ":" + strconv.FormatInt(sc.GetRunAsGroup().GetValue(), 10)
	}
	return u
}

// maxID is the largest user or group id; the one above means "no id" to chown(2).
const maxID = 1<<32 - 2

func checkUser(p *problems, field string, sc securityContext, name string) {
	checkID := func(name string, id int64) {
		if id < 0 || id > maxID {
			p.add(field+"."+name, "%d is outside 0 to %d", id, int64(maxID))
		}
	}
	checkID("run_as_user", sc.GetRunAsUser().GetValue())
	checkID("run_as_group", sc.GetRunAsGroup().GetValue())
	for _, g := range sc.GetSupplementalGroups() {
		checkID("supplemental_groups", g)
	}
	if sc.GetRunAsGroup() != nil && sc.GetRunAsUser() == nil && name == "" {
		p.add(field+".run_as_group", "needs run_as_user or run_as_username as well")
	}
	if sc.GetRunAsUser() != nil && name != "" {
		p.add(field+".run_as_username", "cannot be given together with run_as_user")
	}
	if strings.ContainsAny(name, ":\n\x00") {
		p.add(field+".run_as_username", "%q is no user name", name)
	}
	if _, known := cri.SupplementalGroupsPolicy_name[int32(sc.GetSupplementalGroupsPolicy())]; !known {
		p.add(field+".supplemental_groups_policy", "%d is unknown", sc.GetSupplementalGroupsPolicy())
	}
}

// strict tells whether only the groups that were asked for may be had. The
// engine adds those of the image unless it is given user and group in numbers.
func strict(sc securityContext) bool {
	return sc.GetSupplementalGroupsPolicy() == cri.SupplementalGroupsPolicy_Strict
}

func groupAdd(groups []int64) []string {
	var out []string
	for _, g := range groups {
		out = append(out, strconv.FormatInt(g, 10))
	}
	return out
}

// allCapabilities is what Docker takes for every capability that it knows.
const allCapabilities = "ALL"

// capabilities are Linux' by their names in capital letters, without CAP_.
var capabilities = func() map[string]bool {
	m := map[string]bool{allCapabilities: true}
	for _, c := range capability.ListKnown() {
		m[strings.ToUpper(c.String())] = true
	}
	return m
}()

// checkCapabilities knows the kernel's names, of which an older engine may lack
// the newest; it says so itself then.
func checkCapabilities(p *problems, field string, c *cri.Capability) {
	for _, set := range []struct {
		name  string
		names []string
	}{
		{"add_capabilities", c.GetAddCapabilities()},
		{"drop_capabilities", c.GetDropCapabilities()},
	} {
		for i, name := range set.names {
			if !capabilities[strings.TrimPrefix(strings.ToUpper(name), "CAP_")] {
				p.add(fmt.Sprintf("%s.%s[%d]", field, set.name, i), "%q is no capability of Linux", name)
			}
		}
	}
}

// paths is Docker's form of masked and read-only paths. A list that is empty
// means none to CRI, while nil means Docker's defaults to Docker; privileged
// containers see everything.
func paths(sc *cri.LinuxContainerSecurityContext, list []string) []string {
	switch {
	case sc == nil:
		return nil
	case sc.GetPrivileged() || list == nil:
		return []string{}
	}
	return list
}

// sysctlNamespaces are the sysctls that belong to a namespace of the pod
// (runc: libcontainer/configs/validate).
var sysctlNamespaces = []struct {
	prefix string
	host   func(*cri.NamespaceOption) bool
	name   string
}{
	{"net.", hostNetwork, "network"},
	{"kernel.shm", hostIPC, "IPC"},
	{"kernel.msg", hostIPC, "IPC"},
	{"kernel.sem", hostIPC, "IPC"},
	{"fs.mqueue.", hostIPC, "IPC"},
}

func checkSysctls(p *problems, field string, sysctls map[string]string, ns *cri.NamespaceOption) {
	for _, key := range sortedKeys(sysctls) {
		checkSysctl(p, field+"["+key+"]", key, ns)
	}
}

func checkSysctl(p *problems, field, key string, ns *cri.NamespaceOption) {
	for _, row := range sysctlNamespaces {
		if !strings.HasPrefix(key, row.prefix) {
			continue
		}
		if row.host(ns) {
			p.add(field, "the pod shares the node's %s namespace, where it may not be set", row.name)
		}
		return
	}
	p.add(field, "is not a sysctl that a pod has for its own")
}

func hostNetwork(ns *cri.NamespaceOption) bool { return ns.GetNetwork() == cri.NamespaceMode_NODE }
func hostIPC(ns *cri.NamespaceOption) bool     { return ns.GetIpc() == cri.NamespaceMode_NODE }

// checkNamespaces refuses the modes that CRI does not define for a namespace,
// and user namespaces, which the Engine API has for all containers or none.
func checkNamespaces(p *problems, field string, ns *cri.NamespaceOption) {
	if m := ns.GetNetwork(); m != cri.NamespaceMode_POD && m != cri.NamespaceMode_NODE {
		p.add(field+".network", "%s is not possible: only POD and NODE are", m)
	}
	if _, known := cri.NamespaceMode_name[int32(ns.GetPid())]; !known {
		p.add(field+".pid", "%d is unknown", ns.GetPid())
	}
	if m := ns.GetIpc(); m != cri.NamespaceMode_POD && m != cri.NamespaceMode_NODE {
		p.add(field+".ipc", "%s is not possible: only POD and NODE are", m)
	}
	if ns.GetPid() == cri.NamespaceMode_TARGET && ns.GetTargetId() == "" {
		p.add(field+".target_id", "is required by the TARGET mode")
	}
	if ns.GetPid() != cri.NamespaceMode_TARGET && ns.GetTargetId() != "" {
		p.add(field+".target_id", "is only for the TARGET mode")
	}
	if u := ns.GetUsernsOptions(); u != nil && (u.GetMode() != cri.NamespaceMode_NODE || len(u.GetUids())+len(u.GetGids()) > 0) {
		p.lack(field+".userns_options", "the Engine API has no user namespaces per pod; use the node's (hostUsers: true)")
	}
}

// checkJoins refuses what a container cannot have apart from its sandbox: the
// engine lets it join the sandbox's network and no other.
func checkJoins(p *problems, field string, ns, sandbox *cri.NamespaceOption) {
	if hostNetwork(ns) && !hostNetwork(sandbox) {
		p.add(field+".network", "NODE, but the container's sandbox has a network of its own, which all its containers share")
	}
}

// cgroupns gives a container a cgroup view of its own where cgroup v2 makes
// that useful, as the other runtimes do; privileged ones see the node's.
func cgroupns(f Facts, privileged bool) container.CgroupnsMode {
	switch {
	case f.CgroupVersion != 2:
		return container.CgroupnsModeEmpty
	case privileged:
		return container.CgroupnsModeHost
	}
	return container.CgroupnsModePrivate
}

// cgroupParent is the pod's cgroup as the engine wants it: a slice's own name
// under systemd, a path otherwise.
func cgroupParent(f Facts, parent string) string {
	if f.CgroupDriver == "systemd" && parent != "" {
		return path.Base(parent)
	}
	return parent
}

func checkCgroupParent(p *problems, f Facts, field, parent string) {
	slice := strings.HasSuffix(parent, ".slice")
	switch {
	case parent == "":
	case f.CgroupDriver == "systemd" && !slice:
		p.add(field, "%q is not a systemd slice, as the engine's cgroup driver wants it; set the kubelet's cgroupDriver to systemd", parent)
	case strings.Contains(parent, ".."):
		p.add(field, "%q may not contain \"..\"", parent)
	}
}
