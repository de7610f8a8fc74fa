// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// localhost is a security profile by its name or file.
func localhost(ref string) *cri.SecurityProfile {
	return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: ref}
}

// notJSON is a seccomp profile that is none.
func (n *node) notJSON() string {
	n.Helper()
	file := filepath.Join(n.TempDir(), "profile.json")
	n.must("write a profile", os.WriteFile(file, []byte("{"), 0o600))
	return file
}

// TestBadSandboxes: each is refused with the right code and the name of the
// field, and leaves nothing behind.
func TestBadSandboxes(t *testing.T) {
	n := newNode(t)
	bad := n.notJSON()
	for name, test := range map[string]struct {
		edit func(*cri.PodSandboxConfig)
		code codes.Code
		says string
	}{
		"no metadata":       {func(c *cri.PodSandboxConfig) { c.Metadata = nil }, codes.InvalidArgument, "config.metadata"},
		"no name":           {func(c *cri.PodSandboxConfig) { c.Metadata.Name = "" }, codes.InvalidArgument, "config.metadata.name"},
		"no namespace":      {func(c *cri.PodSandboxConfig) { c.Metadata.Namespace = "" }, codes.InvalidArgument, "config.metadata.namespace"},
		"no uid":            {func(c *cri.PodSandboxConfig) { c.Metadata.Uid = "" }, codes.InvalidArgument, "config.metadata.uid"},
		"name with a slash": {func(c *cri.PodSandboxConfig) { c.Metadata.Name = "a/b" }, codes.InvalidArgument, "config.metadata.name"},
		"long host name":    {func(c *cri.PodSandboxConfig) { c.Hostname = strings.Repeat("h", 65) }, codes.InvalidArgument, "config.hostname"},
		"DNS with a newline": {func(c *cri.PodSandboxConfig) {
			c.DnsConfig = &cri.DNSConfig{Servers: []string{"1.1.1.1\nnameserver 6.6.6.6"}}
		}, codes.InvalidArgument, "config.dns_config.servers"},
		"a node's sysctl": {func(c *cri.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{"vm.swappiness": "1"} }, codes.InvalidArgument, "config.linux.sysctls[vm.swappiness]"},
		"the node's network sysctl": {func(c *cri.PodSandboxConfig) {
			onHostNetwork(c)
			c.Linux.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"}
		}, codes.InvalidArgument, "config.linux.sysctls[net.ipv4.ip_forward]"},
		"container port": {func(c *cri.PodSandboxConfig) {
			c.PortMappings = []*cri.PortMapping{{HostPort: 1, ContainerPort: 65536}}
		}, codes.InvalidArgument, "config.port_mappings[0].container_port"},
		"host port": {func(c *cri.PodSandboxConfig) { c.PortMappings = []*cri.PortMapping{{HostPort: -1, ContainerPort: 1}} }, codes.InvalidArgument, "config.port_mappings[0].host_port"},
		"host address": {func(c *cri.PodSandboxConfig) {
			c.PortMappings = []*cri.PortMapping{{HostPort: 1, ContainerPort: 1, HostIp: "here"}}
		}, codes.InvalidArgument, "config.port_mappings[0].host_ip"},
		"network of a container": {func(c *cri.PodSandboxConfig) { namespaces(c).Network = cri.NamespaceMode_CONTAINER }, codes.InvalidArgument, "namespace_options.network"},
		"user namespace": {func(c *cri.PodSandboxConfig) {
			namespaces(c).UsernsOptions = &cri.UserNamespace{Mode: cri.NamespaceMode_POD}
		}, codes.FailedPrecondition, "userns_options"},
		"absent seccomp file":  {func(c *cri.PodSandboxConfig) { c.Linux.SecurityContext.Seccomp = localhost("/no/such/profile.json") }, codes.InvalidArgument, "/no/such/profile.json"},
		"seccomp, not JSON":    {func(c *cri.PodSandboxConfig) { c.Linux.SecurityContext.Seccomp = localhost(bad) }, codes.InvalidArgument, bad},
		"AppArmor, not loaded": {func(c *cri.PodSandboxConfig) { c.Linux.SecurityContext.Apparmor = localhost("no-such-profile") }, codes.FailedPrecondition, "no-such-profile"},
		"cgroup parent":        {func(c *cri.PodSandboxConfig) { c.Linux.CgroupParent = "/a/../b" }, codes.InvalidArgument, "config.linux.cgroup_parent"},
	} {
		n.sub(name, func(n *node) {
			n.keepBalance()
			_, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: n.podConfig(test.edit)})
			n.wantRefusal(err, test.code, test.says)
		})
	}
	n.sub("unknown handler", func(n *node) {
		_, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: n.podConfig(), RuntimeHandler: "unheard-of"})
		n.wantRefusal(err, codes.InvalidArgument, `runtime_handler "unheard-of"`)
	})
	n.sub("no configuration", func(n *node) {
		_, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{})
		n.wantRefusal(err, codes.InvalidArgument, "config.metadata")
	})
}

func (n *node) wantRefusal(err error, code codes.Code, says string) {
	n.Helper()
	if message := n.wantCode("the request", err, code); !strings.Contains(message, says) {
		n.Errorf("message %q does not say %q", message, says)
	}
}

// TestBadContainers is the same for containers.
func TestBadContainers(t *testing.T) {
	n := newNode(t)
	p := n.pod()
	bad := n.notJSON()
	empty := filepath.Join(n.TempDir(), "empty.json")
	n.must("write an empty profile", os.WriteFile(empty, nil, 0o600))
	secure := func(edit func(*cri.LinuxContainerSecurityContext)) func(*cri.ContainerConfig) { return securely(edit) }
	for name, test := range map[string]struct {
		edit func(*cri.ContainerConfig)
		code codes.Code
		says string
	}{
		"no metadata":     {func(c *cri.ContainerConfig) { c.Metadata = nil }, codes.InvalidArgument, "config.metadata"},
		"no name":         {func(c *cri.ContainerConfig) { c.Metadata.Name = "" }, codes.InvalidArgument, "config.metadata.name"},
		"unknown image":   {func(c *cri.ContainerConfig) { c.Image.Image = "localhost/unheard-of:1" }, codes.NotFound, "localhost/unheard-of:1"},
		"no image":        {func(c *cri.ContainerConfig) { c.Image = nil }, codes.InvalidArgument, "config.image.image"},
		"mount, relative": {mounted(&cri.Mount{HostPath: "relative"}), codes.InvalidArgument, "config.mounts[0].host_path"},
		"mount, nowhere": {func(c *cri.ContainerConfig) { c.Mounts = []*cri.Mount{{HostPath: "/tmp", ContainerPath: "mnt"}} },
			codes.InvalidArgument, "config.mounts[0].container_path"},
		"mount, below a file":  {mounted(&cri.Mount{HostPath: bad + "/below"}), codes.InvalidArgument, bad},
		"device, absent":       {func(c *cri.ContainerConfig) { c.Devices = []*cri.Device{{HostPath: "/dev/unheard-of"}} }, codes.InvalidArgument, "config.devices[0].host_path: stat /dev/unheard-of"},
		"device, a file":       {func(c *cri.ContainerConfig) { c.Devices = []*cri.Device{{HostPath: bad}} }, codes.InvalidArgument, "config.devices[0].host_path: "},
		"user":                 {secure(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = &cri.Int64Value{Value: 1 << 32} }), codes.InvalidArgument, "run_as_user: 4294967296"},
		"stop signal":          {func(c *cri.ContainerConfig) { c.StopSignal = 1000 }, codes.InvalidArgument, "config.stop_signal: 1000"},
		"seccomp, empty":       {secure(func(s *cri.LinuxContainerSecurityContext) { s.Seccomp = localhost(empty) }), codes.InvalidArgument, empty},
		"raw cgroup key":       {func(c *cri.ContainerConfig) { c.Linux.Resources.Unified = map[string]string{"cgroup.freeze": "1"} }, codes.InvalidArgument, "config.linux.resources.unified[cgroup.freeze]"},
		"huge pages":           {func(c *cri.ContainerConfig) { c.Linux.Resources.HugepageLimits = pages("3MB", 1) }, codes.FailedPrecondition, "config.linux.resources.hugepage_limits[0].page_size: "},
		"little memory":        {func(c *cri.ContainerConfig) { c.Linux.Resources.MemoryLimitInBytes = 4096 }, codes.InvalidArgument, "config.linux.resources.memory_limit_in_bytes: 4096"},
		"the node's network":   {secure(func(s *cri.LinuxContainerSecurityContext) { s.NamespaceOptions.Network = cri.NamespaceMode_NODE }), codes.InvalidArgument, "namespace_options.network"},
		"strict, unknown user": {secure(strictly(func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername = "nobody-of-that-name" })), codes.InvalidArgument, "nobody-of-that-name"},
		"mount option":         {mounted(&cri.Mount{HostPath: "/tmp", MountOptions: []string{"size=1m"}}), codes.InvalidArgument, "config.mounts[0].mount_options[0]"},
		"device, relative":     {func(c *cri.ContainerConfig) { c.Devices = []*cri.Device{{HostPath: "null"}} }, codes.InvalidArgument, "config.devices[0].host_path"},
		"working directory":    {func(c *cri.ContainerConfig) { c.WorkingDir = "www" }, codes.InvalidArgument, "config.working_dir"},
		"log outside":          {func(c *cri.ContainerConfig) { c.LogPath = "../../out.log" }, codes.InvalidArgument, "config.log_path"},
		"variable's name":      {func(c *cri.ContainerConfig) { c.Envs = []*cri.KeyValue{{Key: "A=B"}} }, codes.InvalidArgument, "config.envs[0].key"},
		"variable's value":     {func(c *cri.ContainerConfig) { c.Envs = []*cri.KeyValue{{Key: "A", Value: []byte{0xff}}} }, codes.FailedPrecondition, "config.envs[0].value"},
		"quota":                {func(c *cri.ContainerConfig) { c.Linux.Resources.CpuQuota = -2 }, codes.InvalidArgument, "config.linux.resources.cpu_quota"},
		"OOM score":            {func(c *cri.ContainerConfig) { c.Linux.Resources.OomScoreAdj = 1001 }, codes.InvalidArgument, "config.linux.resources.oom_score_adj"},
		"group without a user": {secure(func(s *cri.LinuxContainerSecurityContext) { s.RunAsGroup = &cri.Int64Value{Value: 1} }), codes.InvalidArgument, "run_as_group"},
		"seccomp, absent":      {secure(func(s *cri.LinuxContainerSecurityContext) { s.Seccomp = localhost("/no/such/profile.json") }), codes.InvalidArgument, "/no/such/profile.json"},
		"seccomp, not JSON":    {secure(func(s *cri.LinuxContainerSecurityContext) { s.Seccomp = localhost(bad) }), codes.InvalidArgument, bad},
		"seccomp, a directory": {secure(func(s *cri.LinuxContainerSecurityContext) { s.Seccomp = localhost("/tmp") }), codes.InvalidArgument, "/tmp"},
		"AppArmor, not loaded": {secure(func(s *cri.LinuxContainerSecurityContext) { s.Apparmor = localhost("no-such-profile") }), codes.FailedPrecondition, "no-such-profile"},
		"ambient capability": {secure(func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{AddAmbientCapabilities: []string{"CHOWN"}}
		}), codes.FailedPrecondition, "add_ambient_capabilities"},
		"capability": {secure(func(s *cri.LinuxContainerSecurityContext) {
			s.Capabilities = &cri.Capability{AddCapabilities: []string{"FLYING"}}
		}), codes.InvalidArgument, `config.linux.security_context.capabilities.add_capabilities[0]: "FLYING"`},
	} {
		n.sub(name, func(n *node) {
			n.keepBalance()
			_, err := p.in(n).tryCreate(p.containerConfig(idle, test.edit))
			n.wantRefusal(err, test.code, test.says)
		})
	}
	n.sub("unknown sandbox", func(n *node) {
		_, err := (&pod{n, "unheard-of", p.config}).tryCreate(p.containerConfig(idle))
		n.wantRefusal(err, codes.NotFound, "unheard-of")
	})
	n.sub("no configuration", func(n *node) {
		_, err := n.runtime.CreateContainer(n.Context(), &cri.CreateContainerRequest{PodSandboxId: p.id})
		n.wantRefusal(err, codes.InvalidArgument, "config")
	})
	n.sub("no id", func(n *node) {
		_, err := n.runtime.StopContainer(n.Context(), &cri.StopContainerRequest{})
		n.wantRefusal(err, codes.InvalidArgument, "id")
	})
	n.sub("log path in use", func(n *node) {
		p := p.in(n)
		config := p.containerConfig(idle)
		path := filepath.Join(p.config.GetLogDirectory(), config.GetLogPath())
		n.must("make a folder", os.MkdirAll(path, 0o755))
		c := p.create(config)
		_, err := n.runtime.StartContainer(n.Context(), &cri.StartContainerRequest{ContainerId: c.id})
		n.wantRefusal(err, codes.FailedPrecondition, path)
	})
}
