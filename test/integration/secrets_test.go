// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/base64"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestSecretsStayOutOfTheLog plants values and looks for them in the log, which
// is at its most talkative. Calls that fail are logged as well.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	const secret = "canary-variable-5f21"
	n := newNode(t)
	p := n.pod()
	env := func(value []byte) func(*cri.ContainerConfig) {
		return func(c *cri.ContainerConfig) { c.Envs = []*cri.KeyValue{{Key: "SECRET", Value: value}} }
	}
	if got := p.output("echo $SECRET", env([]byte(secret))); got != secret+"\n" {
		n.Fatalf("the value did not arrive: %q", got)
	}
	for _, broken := range []func(*cri.ContainerConfig){
		env([]byte(secret + "\xff")), env([]byte(secret + "\x00")),
		func(c *cri.ContainerConfig) { env([]byte(secret))(c); c.Image.Image = "localhost/unheard-of" },
		func(c *cri.ContainerConfig) { env([]byte(secret))(c); c.WorkingDir = "relative" },
		func(c *cri.ContainerConfig) {
			env([]byte(secret))(c)
			c.Linux.SecurityContext.Capabilities = &cri.Capability{AddCapabilities: []string{"FLYING"}}
		},
	} {
		if _, err := p.tryCreate(p.containerConfig(idle, broken)); err == nil {
			n.Error("a broken configuration was taken")
		} else if strings.Contains(err.Error(), secret) {
			n.Errorf("the error tells the secret: %v", err)
		}
	}
	unstartable := p.create(p.containerConfig("", env([]byte(secret)), func(c *cri.ContainerConfig) { c.Command = []string{"/no/such/command"} }))
	if _, err := n.runtime.StartContainer(n.Context(), &cri.StartContainerRequest{ContainerId: unstartable.id}); err == nil {
		n.Error("a missing command was started")
	}

	host := n.registry(true)
	n.publish(host + "/secret:1")
	plain := registryUser + ":" + registryPassword
	auths := []*cri.AuthConfig{
		{Username: registryUser, Password: registryPassword},
		{Auth: base64.StdEncoding.EncodeToString([]byte(plain))},
		{Auth: plain},
		{Username: "wrong", Password: registryPassword},
		{IdentityToken: registryPassword},
	}
	for _, auth := range auths {
		_, err := n.pull(host+"/secret:1", auth)
		if err != nil && strings.Contains(err.Error(), registryPassword) {
			n.Errorf("the error tells the password: %v", err)
		}
	}
	if n.imageStatus(host+"/secret:1") == nil {
		n.Error("the right password did not serve")
	}
	n.must("RemoveImage", n.removeImage(host+"/secret:1"))

	log := n.log(t)
	if !strings.Contains(log, "CreateContainer") || !strings.Contains(log, "PullImage") {
		n.Fatal("the log does not tell of the calls")
	}
	for _, canary := range []string{secret, registryPassword, base64.StdEncoding.EncodeToString([]byte(plain))} {
		if strings.Contains(log, canary) {
			n.Errorf("the log tells %q", canary)
		}
	}
}
