// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"testing"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestSignalsRoundTrip(t *testing.T) {
	seen := map[string]cri.Signal{}
	for number, name := range cri.Signal_name {
		s := cri.Signal(number)
		docker := dockerSignal(s)
		if other, taken := seen[docker]; taken {
			t.Errorf("%v and %s are both %q to Docker", other, name, docker)
		}
		seen[docker] = s
		if s != cri.Signal_SIGNAL_RUNTIME_DEFAULT && criSignal(docker) != s {
			t.Errorf("%s is %q to Docker, which reads back as %v", name, docker, criSignal(docker))
		}
	}
}

func TestSignals(t *testing.T) {
	for s, want := range map[cri.Signal]string{
		cri.Signal_SIGNAL_RUNTIME_DEFAULT: "",
		cri.Signal_SIGNAL_SIGTERM:         "SIGTERM",
		cri.Signal_SIGNAL_SIGRTMINPLUS15:  "SIGRTMIN+15",
		cri.Signal_SIGNAL_SIGRTMAXMINUS1:  "SIGRTMAX-1",
	} {
		if got := dockerSignal(s); got != want {
			t.Errorf("dockerSignal(%v) = %q, want %q", s, got, want)
		}
	}
	for name, want := range map[string]cri.Signal{
		"":         cri.Signal_SIGNAL_SIGTERM,
		"QUIT":     cri.Signal_SIGNAL_SIGQUIT,
		"sigquit":  cri.Signal_SIGNAL_SIGQUIT,
		"RTMIN+3":  cri.Signal_SIGNAL_SIGRTMINPLUS3,
		"1":        cri.Signal_SIGNAL_SIGHUP,
		"3":        cri.Signal_SIGNAL_SIGQUIT,
		"9":        cri.Signal_SIGNAL_SIGKILL,
		"15":       cri.Signal_SIGNAL_SIGTERM,
		"31":       cri.Signal_SIGNAL_SIGSYS,
		"0":        cri.Signal_SIGNAL_SIGTERM,
		"-1":       cri.Signal_SIGNAL_SIGTERM,
		"99":       cri.Signal_SIGNAL_SIGTERM,
		"SIGNOPE":  cri.Signal_SIGNAL_SIGTERM,
		"SIG":      cri.Signal_SIGNAL_SIGTERM,
		"RUNTIME_": cri.Signal_SIGNAL_SIGTERM,
	} {
		if got := criSignal(name); got != want {
			t.Errorf("criSignal(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestEmptyRequestsAreRefused(t *testing.T) {
	if _, _, err := ContainerBody(Facts{}, Container{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a container of nothing: %v, want an invalid argument", err)
	}
	if _, _, err := SandboxBody(Facts{}, Sandbox{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a sandbox of nothing: %v, want an invalid argument", err)
	}
}

// The context tells what kubelets leave out from what they leave empty.
func TestPathsWithoutSecurityContext(t *testing.T) {
	if got := paths(nil, nil); got != nil {
		t.Errorf("without a security context the paths are %#v, want nil, which is Docker's defaults", got)
	}
	if got := paths(&cri.LinuxContainerSecurityContext{}, nil); got == nil || len(got) != 0 {
		t.Errorf("with one they are %#v, want none", got)
	}
	privileged := &cri.LinuxContainerSecurityContext{Privileged: true}
	if got := paths(privileged, []string{"/proc/kcore"}); got == nil || len(got) != 0 {
		t.Errorf("for privileged containers they are %#v, want none", got)
	}
}

func TestLogPaths(t *testing.T) {
	for _, c := range []struct {
		directory, path string
		want            string
		refused         bool
	}{
		{"/var/log/pods/x", "app/0.log", "/var/log/pods/x/app/0.log", false},
		{"/var/log/pods/x/", "./app//0.log", "/var/log/pods/x/app/0.log", false},
		{"/", "0.log", "/0.log", false},
		{"", "app/0.log", "", false},
		{"/var/log/pods/x", "", "", false},
		{"/var/log/pods/x", "..", "/var/log/pods", true},
		{"/var/log/pods/x", ".", "/var/log/pods/x", true},
		{"/var/log/pods/x", "../xy/0.log", "/var/log/pods/xy/0.log", true},
		{"/var/log/pods/x", "a/../../../0.log", "/var/log/0.log", true},
		{"pods", "0.log", "pods/0.log", true},
	} {
		one := Container{Config: &cri.ContainerConfig{LogPath: c.path}, Pod: &cri.PodSandboxConfig{LogDirectory: c.directory}}
		var p problems
		checkLogPath(&p, "log_path", one)
		if got := one.logPath(); got != c.want || (len(p) > 0) != c.refused {
			t.Errorf("%q in %q: %q, problems %v; want %q, refused %v", c.path, c.directory, got, p, c.want, c.refused)
		}
	}
}
