// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/docker/docker/api/types/container"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Container is a CreateContainer request with what had to be found out for it.
type Container struct {
	Config *cri.ContainerConfig
	// Pod is the sandbox's configuration, which the request repeats.
	Pod *cri.PodSandboxConfig
	// SandboxID is the full id of the sandbox to join.
	SandboxID string
	// Metadata is the sandbox's own, as it was created with.
	Metadata *cri.PodSandboxMetadata
	// Handler is the runtime handler of the sandbox.
	Handler string
	// Namespaces are those of the sandbox.
	Namespaces *cri.NamespaceOption
	// ImageID is the engine's id of the image.
	ImageID string
	// ExactUser is the user and the group to run as, in numbers, where only those
	// keep out the groups that the image adds; "" where nobody needs them.
	ExactUser string
	// ImageGroups are the groups that the image gives the user, where the engine
	// would leave them out.
	ImageGroups []string
	// Volumes are the images that are mounted, by the index of their mount.
	Volumes map[int]VolumeImage
	// Staged are the paths of the mounts that were made on the node, by index, and
	// StagingKey is what they are kept under, where there are any.
	Staged     map[int]string
	StagingKey string
	Profiles   Profiles
	Log        LogOptions
}

// ContainerBody is a workload container in its sandbox. The error lists
// everything that is wrong with the request.
func ContainerBody(f Facts, c Container) (Body, []Notice, error) {
	if err := checkContainer(f, c); err != nil {
		return Body{}, nil, err
	}
	host, notices := hostConfig(f, c)
	limits, n := cgroupLimits(f, "config.linux.resources", c.resources())
	labels := containerLabels(c)
	maps.Copy(labels, hostLabels(f, c, limits))
	return Body{
		Name: containerDockerName(c.Metadata, c.Config.GetMetadata()),
		Config: &container.Config{
			Image:       c.ImageID,
			Labels:      labels,
			Entrypoint:  c.Config.GetCommand(),
			Cmd:         c.Config.GetArgs(),
			Env:         environment(c.Config.GetEnvs()),
			WorkingDir:  c.Config.GetWorkingDir(),
			User:        firstOf(c.ExactUser, c.User()),
			Tty:         c.Config.GetTty(),
			OpenStdin:   c.Config.GetStdin(),
			StdinOnce:   c.Config.GetStdinOnce(),
			StopSignal:  dockerSignal(c.Config.GetStopSignal()),
			Healthcheck: noHealthcheck(),
		},
		Host: host,
	}, append(notices, n...), nil
}

// User is the user to run as, as the engine takes it: "", a name or a number,
// with or without a group after a colon. "" is the image's own.
func (c Container) User() string { return user(c.security(), c.security().GetRunAsUsername()) }

func hostConfig(f Facts, c Container) (*container.HostConfig, []Notice) {
	sc, ns := c.security(), c.security().GetNamespaceOptions()
	score, notices := oomScore(f, "config.linux.resources.oom_score_adj", int(c.resources().GetOomScoreAdj()))
	label, n := selinuxOpts(f, "config.linux.security_context.selinux_options", sc.GetSelinuxOptions())
	notices = append(notices, n...)
	limits := resources(c.resources())
	limits.CgroupParent = cgroupParent(f, c.Pod.GetLinux().GetCgroupParent())
	limits.Devices = deviceMappings(c.Config.GetDevices())
	limits.DeviceRequests = cdiRequests(c.Config.GetCDIDevices())
	runtime, _ := f.Runtime(c.Handler) // checked before
	return &container.HostConfig{
		NetworkMode:    container.NetworkMode(c.join()),
		IpcMode:        c.ipc(ns),
		PidMode:        c.pid(ns),
		UTSMode:        uts(ns, c.Pod.GetHostname()),
		CgroupnsMode:   cgroupns(f, sc.GetPrivileged()),
		Privileged:     sc.GetPrivileged(),
		CapAdd:         sc.GetCapabilities().GetAddCapabilities(),
		CapDrop:        sc.GetCapabilities().GetDropCapabilities(),
		GroupAdd:       append(groupAdd(sc.GetSupplementalGroups()), c.ImageGroups...),
		SecurityOpt:    c.securityOpts(f, label),
		MaskedPaths:    paths(sc, sc.GetMaskedPaths()),
		ReadonlyPaths:  paths(sc, sc.GetReadonlyPaths()),
		ReadonlyRootfs: sc.GetReadonlyRootfs(),
		Mounts:         mounts(f, c),
		Runtime:        runtime,
		OomScoreAdj:    score,
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		LogConfig:      logConfig(c.Log),
		// The engine may be configured to put an init process first, which would
		// not be the process that was asked for.
		Init:      new(bool),
		Resources: limits,
	}, notices
}

func (c Container) security() *cri.LinuxContainerSecurityContext {
	return c.Config.GetLinux().GetSecurityContext()
}

func (c Container) resources() *cri.LinuxContainerResources {
	return c.Config.GetLinux().GetResources()
}

func (c Container) join() string { return "container:" + c.SandboxID }

func (c Container) ipc(ns *cri.NamespaceOption) container.IpcMode {
	if hostIPC(ns) {
		return container.IPCModeHost
	}
	return container.IpcMode(c.join())
}

func (c Container) pid(ns *cri.NamespaceOption) container.PidMode {
	switch ns.GetPid() {
	case cri.NamespaceMode_NODE:
		return "host"
	case cri.NamespaceMode_POD:
		return container.PidMode(c.join())
	case cri.NamespaceMode_TARGET:
		return container.PidMode("container:" + ns.GetTargetId())
	}
	return ""
}

func (c Container) securityOpts(f Facts, label []string) []string {
	opts := slices.Concat(seccompOpts(c.security(), c.Profiles), appArmorOpts(f, c.appArmor()), label)
	if c.security().GetNoNewPrivs() {
		opts = append(opts, optNoNewPrivileges)
	}
	return opts
}

func (c Container) appArmor() *cri.SecurityProfile {
	//lint:ignore SA1019 kubelets before 1.30 send nothing else
	return profile(c.security().GetApparmor(), c.security().GetApparmorProfile())
}

// userImage is the image as its user named it.
func (c Container) userImage() string {
	return firstOf(c.Config.GetImage().GetUserSpecifiedImage(), c.Config.GetImage().GetImage())
}

func (c Container) fingerprint() string { return fingerprint(c.SandboxID, c.Config) }
func (s Sandbox) fingerprint() string   { return fingerprint(s.Handler, s.Config) }

// fingerprint is the same for the same request only.
func fingerprint(context string, m proto.Message) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return "" // matches nothing: the request is then never taken for a repeated one
	}
	sum := sha256.Sum256(append([]byte(context+"\x00"), b...))
	return hex.EncodeToString(sum[:16])
}

func environment(envs []*cri.KeyValue) []string {
	var out []string
	for _, e := range envs {
		out = append(out, e.GetKey()+"="+string(e.GetValue()))
	}
	return out
}

// checkContainer finds all that is wrong with a request before anything is done.
func checkContainer(f Facts, c Container) error {
	var p problems
	sc := c.security()
	const field = "config.linux.security_context"
	if c.Config.GetMetadata() == nil {
		p.add("config.metadata", "is required")
	} else {
		checkName(&p, "config.metadata.name", c.Config.GetMetadata().GetName())
	}
	if c.Config.GetMetadata().GetName() == sandboxName {
		p.add("config.metadata.name", "%s is what sandboxes are called", sandboxName)
	}
	checkEnvironment(&p, "config.envs", c.Config.GetEnvs())
	checkText(&p, "config.command", c.Config.GetCommand())
	checkText(&p, "config.args", c.Config.GetArgs())
	if d := c.Config.GetWorkingDir(); d != "" && !path.IsAbs(d) {
		p.add("config.working_dir", "%q is not an absolute path", d)
	}
	checkLogPath(&p, "config.log_path", c)
	checkMounts(&p, f, "config.mounts", c)
	checkDevices(&p, "config.devices", c.Config.GetDevices())
	checkResources(&p, f, "config.linux.resources", c.resources())
	checkNamespaces(&p, field+".namespace_options", sc.GetNamespaceOptions())
	checkJoins(&p, field+".namespace_options", sc.GetNamespaceOptions(), c.Namespaces)
	checkCapabilities(&p, field+".capabilities", sc.GetCapabilities())
	checkSeccomp(&p, field, sc, c.Profiles)
	checkAppArmor(&p, f, field+".apparmor", c.appArmor(), c.Profiles)
	checkUser(&p, field, sc, sc.GetRunAsUsername())
	if strict(sc) && c.ExactUser == "" {
		p.lack(field+".supplemental_groups_policy", "Strict cannot be kept, since the group of user %q in the image is not known; set run_as_group", c.User())
	}
	if len(sc.GetCapabilities().GetAddAmbientCapabilities()) > 0 {
		p.lack(field+".capabilities.add_ambient_capabilities", "the Engine API has no ambient capabilities")
	}
	if c.Config.GetWindows() != nil {
		p.add("config.windows", "this node runs Linux")
	}
	if _, known := cri.Signal_name[int32(c.Config.GetStopSignal())]; !known {
		p.add("config.stop_signal", "%d is unknown", c.Config.GetStopSignal())
	}
	checkCgroupParent(&p, f, "sandbox_config.linux.cgroup_parent", c.Pod.GetLinux().GetCgroupParent())
	if _, err := f.Runtime(c.Handler); err != nil {
		p = append(p, problem{err.Error(), err})
	}
	return p.err()
}

func checkEnvironment(p *problems, field string, envs []*cri.KeyValue) {
	for i, e := range envs {
		at := field + "[" + strconv.Itoa(i) + "]"
		if e.GetKey() == "" || strings.ContainsAny(e.GetKey(), "=\x00") {
			p.add(at+".key", "%q is no name of a variable", e.GetKey())
		}
		// The value itself may be a secret: it stays out of the message.
		if !utf8.Valid(e.GetValue()) || strings.ContainsRune(string(e.GetValue()), 0) {
			p.lack(at+".value", "the Engine API takes only UTF-8 text without NUL (variable %q)", e.GetKey())
		}
	}
}

// checkText refuses words that no process can be given.
func checkText(p *problems, field string, words []string) {
	for i, w := range words {
		if strings.ContainsRune(w, 0) {
			p.add(field+"["+strconv.Itoa(i)+"]", "contains a NUL byte")
		}
	}
}

const signalPrefix = "SIGNAL_"

// signalSigns are spelt out in CRI's enumeration, as in SIGNAL_SIGRTMINPLUS1.
var signalSigns = []string{"PLUS", "+", "MINUS", "-"}

// dockerSignal is Docker's name of a signal, such as SIGTERM or SIGRTMIN+1; ""
// leaves the choice to the image.
func dockerSignal(s cri.Signal) string {
	if s == cri.Signal_SIGNAL_RUNTIME_DEFAULT {
		return ""
	}
	return strings.NewReplacer(signalSigns...).Replace(strings.TrimPrefix(s.String(), signalPrefix))
}

// signals is dockerSignal the other way round.
var signals = func() map[string]cri.Signal {
	m := make(map[string]cri.Signal, len(cri.Signal_name))
	for number := range cri.Signal_name {
		m[dockerSignal(cri.Signal(number))] = cri.Signal(number)
	}
	return m
}()

// signalNumbers are the names of Linux' signals from 1 on, as images may number
// them (signal(7)).
var signalNumbers = strings.Fields("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT " +
	"CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS")

// criSignal is the signal that a container is stopped with. Images may name it
// without SIG, by its number, or not at all, which means SIGTERM to Docker.
func criSignal(name string) cri.Signal {
	name = strings.ToUpper(name)
	if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= len(signalNumbers) {
		name = signalNumbers[n-1]
	}
	if s, ok := signals[name]; ok && name != "" {
		return s
	}
	if s, ok := signals["SIG"+name]; ok {
		return s
	}
	return cri.Signal_SIGNAL_SIGTERM
}
