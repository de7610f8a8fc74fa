// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// generator draws configurations that are valid: a kubelet could send them, and
// the runtime says by its features that it can honour them.
type generator struct {
	*rand.Rand
	dir      string // folder for volumes, which propagates
	features *cri.RuntimeFeatures
	handler  *cri.RuntimeHandlerFeatures
	owns     bool // the image is the suite's, with its users
	signals  bool // the runtime knows stop signals, which no feature tells
}

// one of several, each as likely.
func one[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

// some of several, in any order.
func some[T any](g *generator, of ...T) (chosen []T) {
	for _, i := range g.Perm(len(of))[:g.IntN(len(of)+1)] {
		chosen = append(chosen, of[i])
	}
	return chosen
}

// chance is true once in so many times.
func (g *generator) chance(in int) bool { return g.IntN(in) == 0 }

// strange are the texts that go wrong most often.
var strange = []string{
	"", " ", "=", "a=b=c", "one\ntwo\n", "\ttab\r\n", `"quoted" 'twice'`, `\back\slash`, "$HOME $(id) `id` ${X}", "%s %d %%", "ünïcödé", "日本語", "🐳🏳️‍🌈",
	"\u202eright to left", "e\u0301", "null", "{}", `{"json": ["a", 1, null]}`, "-", "--flag=value", "../..", "/", "*?[a-z]", ";&|<>", "#comment", "\x01\x7f", "true", "0", "\ufeffbom",
}

// text is of any characters but NUL, which ends a variable and an argument.
func (g *generator) text() string {
	switch g.IntN(10) {
	case 0:
		return strings.Repeat(one(g, "long ", "ü", "line\n"), 1+g.IntN(3000))
	case 1, 2, 3, 4:
		return one(g, strange...)
	default:
		return one(g, strange...) + g.name(1+g.IntN(30)) + one(g, strange...)
	}
}

// name is of a label's characters, with a letter at both ends.
func (g *generator) name(length int) string {
	const ends, inside = "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz0123456789-"
	b := []byte{ends[g.IntN(len(ends))]}
	for len(b) < length-1 {
		b = append(b, inside[g.IntN(len(inside))])
	}
	if length > 1 {
		b = append(b, ends[g.IntN(len(ends))])
	}
	return string(b)
}

// length is often at a limit.
func (g *generator) length(least, most int) int {
	if g.chance(4) {
		return one(g, least, most)
	}
	return least + g.IntN(most-least+1)
}

// subdomain is labels with dots between.
func (g *generator) subdomain(length int) string {
	if length <= longestLabel {
		return g.name(length)
	}
	first := 1 + g.IntN(longestLabel)
	if length-first-1 < 1 {
		first = length - 2
	}
	return g.name(first) + "." + g.subdomain(length-first-1)
}

// key is of a label or an annotation: with or without a domain, and with the
// characters that only these may have.
func (g *generator) key() string {
	name := g.name(g.length(1, 30)) + one(g, "", ".Dotted", "_under_Score", "-1") + g.name(g.length(1, 20))
	if g.chance(2) {
		return name
	}
	return g.subdomain(g.length(1, longestName)) + "/" + name
}

func (g *generator) labels() map[string]string {
	m := map[string]string{}
	for range g.IntN(8) {
		m[g.key()] = one(g, "", "v", "Value_1.x", g.name(longestLabel))
	}
	return m
}

func (g *generator) annotations() map[string]string {
	m := map[string]string{}
	for range g.IntN(10) {
		m[g.key()] = g.text()
	}
	return m
}

// pod draws a sandbox.
func (g *generator) pod(logs string, number int) *cri.PodSandboxConfig {
	c := podConfig(logs)
	c.Metadata = &cri.PodSandboxMetadata{
		Name:      fmt.Sprintf("r%d-", number) + g.subdomain(g.length(1, longestName-4)),
		Namespace: g.name(g.length(1, longestLabel)), Uid: fmt.Sprintf("%08x-0000-4000-8000-%012x", g.Uint32(), number), Attempt: g.Uint32(),
	}
	c.Hostname = g.name(g.length(1, longestLabel))
	c.Labels, c.Annotations = g.labels(), g.annotations()
	if g.chance(2) {
		c.DnsConfig = &cri.DNSConfig{
			Servers: some(g, "10.96.0.10", "fd00::10", "192.0.2.53"), Searches: some(g, "suite.svc.cluster.local", "svc.cluster.local"), Options: some(g, "ndots:5", "edns0"),
		}
	}
	c.Linux.Sysctls = map[string]string{}
	for _, name := range some(g, "net.ipv4.tcp_syncookies", "kernel.shm_rmid_forced", "net.ipv4.ip_forward") {
		c.Linux.Sysctls[name] = one(g, "0", "1")
	}
	c.Linux.Overhead, c.Linux.Resources = &cri.LinuxContainerResources{CpuShares: 10}, &cri.LinuxContainerResources{MemoryLimitInBytes: 1 << 30}
	s := c.Linux.SecurityContext
	s.NamespaceOptions.Pid = one(g, cri.NamespaceMode_POD, cri.NamespaceMode_CONTAINER)
	s.NamespaceOptions.Ipc = one(g, cri.NamespaceMode_POD, cri.NamespaceMode_POD, cri.NamespaceMode_NODE)
	if s.NamespaceOptions.Ipc == cri.NamespaceMode_NODE {
		delete(c.Linux.Sysctls, "kernel.shm_rmid_forced")
	}
	s.ReadonlyRootfs = g.chance(2)
	s.SupplementalGroups = some[int64](g, 70, 2000)
	return c
}

// container draws a container of a pod. Its script runs until it is killed.
func (g *generator) container(of *cri.PodSandboxConfig, number int) *cri.ContainerConfig {
	name := fmt.Sprintf("c%d-", number) + g.name(g.length(1, longestLabel-5))
	c := containerConfig(of, "while true; do sleep 1000; done")
	c.Metadata = &cri.ContainerMetadata{Name: name, Attempt: g.Uint32N(1000)}
	c.LogPath = filepath.Join(name, fmt.Sprint(c.Metadata.Attempt)+".log")
	c.Labels, c.Annotations = g.labels(), g.annotations()
	for range g.IntN(6) {
		c.Args = append(c.Args, g.text())
	}
	c.Envs = g.envs(number)
	c.Stdin, c.Tty = g.chance(3), g.chance(4)
	c.StdinOnce = c.Stdin && g.chance(2)
	c.StopSignal = g.signal()
	c.Linux.Resources = g.resources()
	c.Linux.SecurityContext = g.security(c.Linux.SecurityContext.NamespaceOptions)
	c.Mounts = g.mounts()
	if g.chance(5) {
		c.Devices = []*cri.Device{{HostPath: "/dev/null", ContainerPath: "/dev/another", Permissions: one(g, "r", "rw", "rwm")}}
	}
	c.WorkingDir = one(g, "", "/", "/tmp", "/tmp/../bin/.")
	if !c.Linux.SecurityContext.ReadonlyRootfs {
		c.WorkingDir = one(g, c.WorkingDir, "/not/yet/there", "/tmp/ü n ï")
	}
	return c
}

// envs begin with the variable by which the test finds the process.
func (g *generator) envs(number int) []*cri.KeyValue {
	envs := []*cri.KeyValue{{Key: "SUITE_CONTAINER", Value: []byte(fmt.Sprintf("%d-of-%d", number, os.Getpid()))}}
	for i := range g.IntN(20) {
		// Kubernetes allows all printable characters but the equals sign.
		key := one(g, "VARIABLE", "lower.case-name", "with space", "1digit", "quo'te\"", "~!@#%^&*(){}[]|;:,<>?/") + fmt.Sprint(i)
		envs = append(envs, &cri.KeyValue{Key: key, Value: []byte(g.text())})
	}
	return envs
}

// signal is any, or none named.
func (g *generator) signal() cri.Signal {
	if !g.signals || g.chance(3) {
		return cri.Signal_SIGNAL_RUNTIME_DEFAULT
	}
	return cri.Signal(g.IntN(len(cri.Signal_name)))
}

func (g *generator) resources() *cri.LinuxContainerResources {
	r := &cri.LinuxContainerResources{
		CpuShares: one[int64](g, 0, 2, 10, 512, 1024, 262144), MemoryLimitInBytes: one[int64](g, 0, 0, 32*mebibyte, 100*mebibyte, 1<<30),
		OomScoreAdj: one[int64](g, 0, 2, 500, 1000), CpusetCpus: one(g, "", "", "0"), CpusetMems: one(g, "", "", "0"),
	}
	if g.chance(2) {
		r.CpuPeriod, r.CpuQuota = 100000, one[int64](g, 1000, 50000, 400000)
	}
	if g.chance(2) {
		r.HugepageLimits = limitsOf(0)
	}
	return r
}

// capabilities are those that containers get or lose most often. Adding one that
// the node's processes lack would be the kernel's to refuse.
var capabilities = []string{"CHOWN", "NET_RAW", "NET_ADMIN", "SYS_PTRACE", "SYS_TIME", "MKNOD", "KILL", "CAP_NET_BIND_SERVICE"}

func (g *generator) security(ns *cri.NamespaceOption) *cri.LinuxContainerSecurityContext {
	s := &cri.LinuxContainerSecurityContext{
		NamespaceOptions: ns, ReadonlyRootfs: g.chance(3), NoNewPrivs: g.chance(2),
		SupplementalGroups: some[int64](g, 70, 2000, 65535),
		MaskedPaths:        some(g, "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/not/there"),
		ReadonlyPaths:      some(g, "/proc/sys", "/proc/bus", "/proc/irq"),
		Seccomp: one(g, nil, &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault},
			&cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}),
	}
	if g.chance(2) {
		s.Capabilities = &cri.Capability{AddCapabilities: some(g, capabilities[:4]...), DropCapabilities: some(g, capabilities[4:]...)}
	} else if g.chance(2) {
		s.Capabilities = &cri.Capability{DropCapabilities: []string{"ALL"}}
	}
	switch g.IntN(4) {
	case 0:
		s.RunAsUser = value(one[int64](g, 0, 1000, 1234, 65534, 1<<31-2))
	case 1:
		s.RunAsUser, s.RunAsGroup = value(one[int64](g, 0, 1000, 1234)), value(one[int64](g, 0, 77, 1<<31-2))
	case 2:
		if g.owns {
			s.RunAsUsername = one(g, "root", appUser)
		}
	}
	if g.features.GetSupplementalGroupsPolicy() && g.chance(2) {
		s.SupplementalGroupsPolicy = cri.SupplementalGroupsPolicy_Strict
	}
	return s
}

// mounts are of folders with names that other formats have a use for.
func (g *generator) mounts() (mounts []*cri.Mount) {
	for i, source := range some(g, "plain", "with space", "co:lon", "com,ma", "ünï", `back\slash`) {
		m := &cri.Mount{HostPath: filepath.Join(g.dir, source), ContainerPath: fmt.Sprintf("/volumes/%d%s", i, one(g, "", "/deeper", " space", "ü"))}
		m.Readonly = g.chance(2)
		m.Propagation = one(g, cri.MountPropagation_PROPAGATION_PRIVATE, cri.MountPropagation_PROPAGATION_PRIVATE,
			cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, cri.MountPropagation_PROPAGATION_BIDIRECTIONAL)
		if m.Readonly && m.Propagation == cri.MountPropagation_PROPAGATION_PRIVATE && g.handler.GetRecursiveReadOnlyMounts() {
			m.RecursiveReadOnly = g.chance(2)
		}
		if g.features.GetMountOptions() && g.chance(3) {
			m.MountOptions = some(g, "noexec", "nosuid", "nodev")
			slices.Sort(m.MountOptions)
		}
		mounts = append(mounts, m)
	}
	return mounts
}
