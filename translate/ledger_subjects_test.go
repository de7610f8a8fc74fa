// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"testing"

	"github.com/docker/docker/api/types/container"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	cdi "tags.cncf.io/container-device-interface/specs-go"
)

// subject is a CRI message whose fields are tried one by one.
type subject struct {
	// valid is a request that is not refused.
	valid proto.Message
	// errorPath is how errors call the message.
	errorPath string
	// observe is all that this package makes of the message, as text. It is nil
	// for messages that other packages read.
	observe func(testing.TB, Facts, proto.Message) (string, error)
}

func (s subject) name() string { return string(s.valid.ProtoReflect().Descriptor().Name()) }

// path is how the ledger calls the field.
func (s subject) path(to way) string { return s.name() + "." + to.path() }

// subjects are the messages that this package translates.
var subjects = []subject{
	{validSandbox(), "config", observeSandbox},
	{validContainer(), "config", observeContainer},
	{&cri.UpdateContainerResourcesRequest{}, "", observeUpdate},
	{&cri.ExecSyncRequest{Cmd: []string{"true"}}, "", observeExecSync},
	{&cri.ExecRequest{Cmd: []string{"true"}, Stdout: true}, "", observeExec},
	{&cri.AttachRequest{Stdout: true}, "", observeAttach},
	{&cri.ImageSpec{Image: "busybox"}, "image", observeImage},
	{&cri.AuthConfig{}, "auth", observeAuth},
	{&cri.PodSandboxFilter{}, "filter", observeSandboxFilter},
	{&cri.ContainerFilter{}, "filter", observeContainerFilter},
}

func validSandbox() *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata:     podMetadata(),
		LogDirectory: "/var/log/pods/web",
		PortMappings: []*cri.PortMapping{{ContainerPort: 80, HostPort: 8080}},
	}
}

func validContainer() *cri.ContainerConfig {
	return &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "app"},
		Image:    &cri.ImageSpec{Image: "busybox"},
		LogPath:  "app/0.log",
		Envs:     []*cri.KeyValue{{Key: "NAME"}},
		Mounts:   []*cri.Mount{{ContainerPath: "/data", HostPath: "/srv"}},
		Devices:  []*cri.Device{{ContainerPath: "/dev/null", HostPath: "/dev/null"}},
	}
}

// companions are what a field, or one of its values, needs beside it to be valid.
var companions = map[string]func(proto.Message){
	"PodSandboxConfig.linux.security_context.run_as_group.value": func(m proto.Message) {
		m.(*cri.PodSandboxConfig).Linux.SecurityContext.RunAsUser = &cri.Int64Value{}
	},
	"PodSandboxConfig.linux.security_context.seccomp.localhost_ref": func(m proto.Message) {
		m.(*cri.PodSandboxConfig).Linux.SecurityContext.Seccomp = localhost("/one.json")
	},
	"PodSandboxConfig.linux.security_context.apparmor.localhost_ref": func(m proto.Message) {
		m.(*cri.PodSandboxConfig).Linux.SecurityContext.Apparmor = localhost("one")
	},
	"ContainerConfig.linux.security_context.run_as_group.value": func(m proto.Message) {
		m.(*cri.ContainerConfig).Linux.SecurityContext.RunAsUser = &cri.Int64Value{}
	},
	"ContainerConfig.linux.security_context.seccomp.localhost_ref": func(m proto.Message) {
		m.(*cri.ContainerConfig).Linux.SecurityContext.Seccomp = localhost("/one.json")
	},
	"ContainerConfig.linux.security_context.apparmor.localhost_ref": func(m proto.Message) {
		m.(*cri.ContainerConfig).Linux.SecurityContext.Apparmor = localhost("one")
	},
	"ContainerConfig.linux.security_context.namespace_options.target_id": func(m proto.Message) {
		ns := m.(*cri.ContainerConfig).Linux.SecurityContext.NamespaceOptions
		ns.Pid, ns.TargetId = cri.NamespaceMode_TARGET, "one"
	},
	"PodSandboxConfig.linux.security_context.seccomp.profile_type=Localhost": func(m proto.Message) {
		m.(*cri.PodSandboxConfig).Linux.SecurityContext.Seccomp.LocalhostRef = "/one.json"
	},
	"PodSandboxConfig.linux.security_context.apparmor.profile_type=Localhost": func(m proto.Message) {
		m.(*cri.PodSandboxConfig).Linux.SecurityContext.Apparmor.LocalhostRef = "one"
	},
	"ContainerConfig.linux.security_context.seccomp.profile_type=Localhost": func(m proto.Message) {
		m.(*cri.ContainerConfig).Linux.SecurityContext.Seccomp.LocalhostRef = "/one.json"
	},
	"ContainerConfig.linux.security_context.apparmor.profile_type=Localhost": func(m proto.Message) {
		m.(*cri.ContainerConfig).Linux.SecurityContext.Apparmor.LocalhostRef = "one"
	},
	"ContainerConfig.linux.security_context.namespace_options.pid=TARGET": func(m proto.Message) {
		m.(*cri.ContainerConfig).Linux.SecurityContext.NamespaceOptions.TargetId = "one"
	},
	"ContainerConfig.linux.security_context.supplemental_groups_policy": func(m proto.Message) {
		m.(*cri.ContainerConfig).Linux.SecurityContext.RunAsUser = &cri.Int64Value{Value: 1000}
	},
	"PodSandboxConfig.linux.security_context.supplemental_groups_policy": func(m proto.Message) {
		m.(*cri.PodSandboxConfig).Linux.SecurityContext.RunAsUser = &cri.Int64Value{Value: 1000}
	},
	"ContainerConfig.mounts.image.image":                mountsImage,
	"ContainerConfig.mounts.image.annotations":          mountsImage,
	"ContainerConfig.mounts.image.user_specified_image": mountsImage,
	"ContainerConfig.mounts.image.runtime_handler":      mountsImage,
	"ContainerConfig.mounts.image.image_ref":            mountsImage,
	"ContainerConfig.mounts.image_sub_path":             mountsImage,
	"ContainerConfig.linux.resources.hugepage_limits.limit": func(m proto.Message) {
		m.(*cri.ContainerConfig).Linux.Resources.HugepageLimits[0].PageSize = "2MB"
	},
	"ContainerConfig.linux.resources.hugepage_limits.page_size": func(m proto.Message) {
		m.(*cri.ContainerConfig).Linux.Resources.HugepageLimits[0].PageSize = "2MB"
	},
	"UpdateContainerResourcesRequest.linux.hugepage_limits.limit": func(m proto.Message) {
		m.(*cri.UpdateContainerResourcesRequest).Linux.HugepageLimits[0].PageSize = "2MB"
	},
	"UpdateContainerResourcesRequest.linux.hugepage_limits.page_size": func(m proto.Message) {
		m.(*cri.UpdateContainerResourcesRequest).Linux.HugepageLimits[0].PageSize = "2MB"
	},
	"ContainerConfig.mounts.recursive_read_only": func(m proto.Message) {
		m.(*cri.ContainerConfig).Mounts[0].Readonly = true
	},
}

// mountsImage lets the mount be of an image instead of a host path.
func mountsImage(m proto.Message) {
	mount := m.(*cri.ContainerConfig).Mounts[0]
	mount.HostPath = ""
	if mount.Image == nil {
		mount.Image = &cri.ImageSpec{}
	}
	mount.Image.Image = "one"
}

func localhost(ref string) *cri.SecurityProfile {
	return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: ref}
}

// examples are valid texts for fields that do not take any.
var examples = map[string]string{
	"PodSandboxConfig.log_directory":                                        "/other",
	"PodSandboxConfig.port_mappings.host_ip":                                "192.0.2.1",
	"PodSandboxConfig.linux.security_context.seccomp.localhost_ref":         "/other.json",
	"PodSandboxConfig.linux.security_context.seccomp_profile_path":          "runtime/default",
	"ContainerConfig.working_dir":                                           "/other",
	"ContainerConfig.mounts.container_path":                                 "/other",
	"ContainerConfig.mounts.host_path":                                      "/other",
	"ContainerConfig.devices.container_path":                                "/other",
	"ContainerConfig.devices.host_path":                                     "/other",
	"ContainerConfig.devices.permissions":                                   "r",
	"ContainerConfig.mounts.mount_options":                                  "noexec",
	"ContainerConfig.linux.security_context.capabilities.add_capabilities":  "CHOWN",
	"ContainerConfig.linux.security_context.capabilities.drop_capabilities": "CHOWN",
	"ContainerConfig.linux.resources.hugepage_limits.page_size":             "1GB",
	"UpdateContainerResourcesRequest.linux.hugepage_limits.page_size":       "1GB",
	"ContainerConfig.linux.security_context.seccomp.localhost_ref":          "/other.json",
	"ContainerConfig.linux.security_context.seccomp_profile_path":           "runtime/default",
	"ContainerConfig.linux.security_context.apparmor_profile":               "unconfined",
	"AuthConfig.auth": "dXNlcjpwYXNzd29yZA==",
}

// exampleSizes are valid numbers for fields to which 7 is too little.
var exampleSizes = map[string]int64{
	"ContainerConfig.linux.resources.memory_limit_in_bytes":       7 << 20,
	"UpdateContainerResourcesRequest.linux.memory_limit_in_bytes": 7 << 20,
}

// mapKey is a key that every map of strings takes, the one of sysctls included.
const mapKey = "net.other"

func observeSandbox(t testing.TB, f Facts, m proto.Message) (string, error) {
	c := m.(*cri.PodSandboxConfig)
	profiles := profilesOf(c.GetLinux().GetSecurityContext())
	body, _, err := SandboxBody(f, Sandbox{Config: c, PauseImage: "pause", Profiles: profiles})
	if err != nil {
		return "", err
	}
	app, _, err := ContainerBody(f, Container{Config: validContainer(), Pod: c, Metadata: podMetadata()})
	return fmt.Sprint(bodyMap(t, body), ResolvConf(c.GetDnsConfig()), bodyMap(t, app)), err
}

func observeContainer(t testing.TB, f Facts, m proto.Message) (string, error) {
	c := m.(*cri.ContainerConfig)
	if !f.CDI {
		c = expanded(t, c)
	}
	container := Container{
		Config: c, Pod: validSandbox(), Metadata: podMetadata(), Profiles: profilesOf(c.GetLinux().GetSecurityContext()),
		Namespaces: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE},
		Volumes:    map[int]VolumeImage{},
	}
	for i, m := range c.GetMounts() {
		if ref := m.GetImage().GetImage(); ref != "" {
			container.Volumes[i] = VolumeImage{ID: "id of " + ref, Layers: []string{"/layer"}}
		}
	}
	container.Staged = map[int]string{0: fmt.Sprint("/staged for ", c.GetMounts())}
	if c.GetLinux().GetSecurityContext().GetSupplementalGroupsPolicy() == cri.SupplementalGroupsPolicy_Strict {
		container.ExactUser = container.User() + ":1000"
	}
	body, _, err := ContainerBody(f, container)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(bodyMap(t, body)), nil
}

// expanded is a container on an engine that knows no CDI: each name stands for a
// variable.
func expanded(t testing.TB, c *cri.ContainerConfig) *cri.ContainerConfig {
	var edits []CDIEdits
	for _, d := range c.GetCDIDevices() {
		edits = append(edits, CDIEdits{d.GetName(), &cdi.ContainerEdits{Env: []string{"DEVICE=" + d.GetName()}}})
	}
	c, _, err := ExpandCDI(c, edits)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// profilesOf stands in for the files and the kernel: a seccomp profile says
// what it is called, and the AppArmor profiles of this test are loaded.
func profilesOf(sc securityContext) Profiles {
	return Profiles{Seccomp: fmt.Sprintf(`{"name": %q}`, SeccompFile(sc.GetSeccomp(), sc.GetSeccompProfilePath())), AppArmor: []string{"one", "other"}}
}

func observeUpdate(_ testing.TB, f Facts, m proto.Message) (string, error) {
	update, _, err := UpdateBody(f, m.(*cri.UpdateContainerResourcesRequest).GetLinux())
	return fmt.Sprintf("%+v", update), err
}

func observeExecSync(_ testing.TB, _ Facts, m proto.Message) (string, error) {
	r := m.(*cri.ExecSyncRequest)
	return fmt.Sprintf("%+v", ExecSyncBody(r)), CheckExecSync(r)
}

func observeExec(_ testing.TB, _ Facts, m proto.Message) (string, error) {
	r := m.(*cri.ExecRequest)
	return fmt.Sprintf("%+v", ExecBody(r, TerminalSize{})), CheckExec(r)
}

func observeAttach(_ testing.TB, _ Facts, m proto.Message) (string, error) {
	r := m.(*cri.AttachRequest)
	c := container.InspectResponse{Config: &container.Config{OpenStdin: true}}
	return fmt.Sprintf("%+v", AttachBody(r, c)), CheckAttach(r)
}

func observeImage(_ testing.TB, _ Facts, m proto.Message) (string, error) {
	return PullName(m.(*cri.ImageSpec).GetImage())
}

func observeAuth(_ testing.TB, _ Facts, m proto.Message) (string, error) {
	return RegistryAuth(m.(*cri.AuthConfig))
}

func observeSandboxFilter(_ testing.TB, _ Facts, m proto.Message) (string, error) {
	var shown []bool
	for _, s := range []*cri.PodSandbox{
		{Id: "other"},
		{Id: "one", State: cri.PodSandboxState_SANDBOX_NOTREADY},
		{Labels: map[string]string{mapKey: "other"}},
	} {
		shown = append(shown, MatchSandbox(m.(*cri.PodSandboxFilter), s))
	}
	return fmt.Sprint(shown), nil
}

func observeContainerFilter(_ testing.TB, _ Facts, m proto.Message) (string, error) {
	var shown []bool
	for _, c := range []*cri.Container{
		{Id: "other"},
		{Id: "one", PodSandboxId: "other"},
		{State: cri.ContainerState_CONTAINER_RUNNING},
		{State: cri.ContainerState_CONTAINER_EXITED},
		{State: cri.ContainerState_CONTAINER_UNKNOWN},
		{Labels: map[string]string{mapKey: "other"}},
	} {
		shown = append(shown, MatchContainer(m.(*cri.ContainerFilter), c))
	}
	return fmt.Sprint(shown), nil
}
