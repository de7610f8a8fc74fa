// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// noTmp is an AppArmor profile that forbids to write below /tmp. It lets
// the engine end the container, whatever that is confined by.
const noTmp = "integration-no-tmp"

const noTmpText = "profile " + noTmp + ` flags=(attach_disconnected,mediate_deleted) {
	file,
	capability,
	network,
	signal,
	deny /tmp/** wl,
}
`

func needAppArmor(t *testing.T) {
	t.Helper()
	if enabled, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err != nil || string(enabled) != "Y\n" {
		t.Skip("AppArmor is not enabled in this kernel: it is in the machine of test/vm/run.sh")
	}
	if _, err := exec.LookPath("apparmor_parser"); err != nil {
		t.Skipf("%v: install apparmor", err)
	}
}

// loadAppArmor loads a profile until the test ends, or unload is called.
func (n *node) loadAppArmor(text string) (unload func()) {
	n.Helper()
	file := filepath.Join(n.TempDir(), "profile")
	n.must("write a profile", os.WriteFile(file, []byte(text), 0o600))
	parser := func(option string) {
		n.Helper()
		if out, err := exec.Command("apparmor_parser", "--skip-cache", option, file).CombinedOutput(); err != nil {
			n.Fatalf("apparmor_parser %s: %v\n%s", option, err, out)
		}
	}
	parser("--replace")
	loaded := true
	unload = func() {
		if loaded {
			loaded = false
			parser("--remove")
		}
	}
	n.Cleanup(unload)
	return unload
}

// TestAppArmor reads by what processes are confined, and tries what is forbidden.
func TestAppArmor(t *testing.T) {
	needAppArmor(t)
	n := newNode(t)
	unload := n.loadAppArmor(noTmpText)
	const dockers, free, own = "docker-default (enforce)", "unconfined", noTmp + " (enforce)"
	asked := func(profile *cri.SecurityProfile) func(*cri.LinuxContainerSecurityContext) {
		return func(s *cri.LinuxContainerSecurityContext) { s.Apparmor = profile }
	}
	named := func(name string) func(*cri.LinuxContainerSecurityContext) {
		return func(s *cri.LinuxContainerSecurityContext) {
			s.ApparmorProfile = name //lint:ignore SA1019 older kubelets use it
		}
	}
	p := n.pod(func(c *cri.PodSandboxConfig) { c.Linux.SecurityContext.Apparmor = localhost(noTmp) })
	if got := strings.TrimSpace(p.pause().proc("attr/current")); got != own {
		n.Errorf("the pause process is confined by %q", got)
	}
	for name, test := range map[string]struct {
		edit func(*cri.LinuxContainerSecurityContext)
		want string
	}{
		"none asked for":              {asked(nil), dockers},
		"the runtime default":         {asked(&cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}), dockers},
		"unconfined":                  {asked(&cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}), free},
		"a profile of the node":       {asked(localhost(noTmp)), own},
		"the old name of the default": {named("runtime/default"), dockers},
		"the old name of unconfined":  {named("unconfined"), free},
		"the old name of a node's":    {named("localhost/" + noTmp), own},
	} {
		n.sub(name, func(n *node) {
			c := p.in(n).container("cat /proc/self/attr/current; echo text > /tmp/new && echo written || echo refused; "+idle, securely(test.edit))
			outcome := map[bool]string{true: "refused\n", false: "written\n"}[test.want == own]
			c.awaitLog(outcome)
			if got := c.log(); !strings.Contains("\n"+got, "\n"+test.want+"\n") {
				n.Errorf("inside: %q, want %s", got, test.want)
			}
			c.stop(60)
			if code := c.status().GetExitCode(); code != 0 {
				n.Errorf("it was stopped with exit code %d", code)
			}
			c.remove()
		})
	}
	n.removePod(p.id)
	unload()
	p = n.pod()
	n.keepBalance()
	_, err := p.tryCreate(p.containerConfig(idle, securely(asked(localhost(noTmp)))))
	n.wantRefusal(err, codes.FailedPrecondition, noTmp)
	config := n.podConfig(func(c *cri.PodSandboxConfig) { c.Linux.SecurityContext.Apparmor = localhost(noTmp) })
	_, err = n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: config})
	n.wantRefusal(err, codes.FailedPrecondition, noTmp)
}
