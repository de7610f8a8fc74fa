// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestStatusFollowsConfiguration looks at Status while CNI configurations come,
// break and go.
func TestStatusFollowsConfiguration(t *testing.T) {
	n := bareNode(t)
	eventually(n, "the engine is reached", func() bool { return n.condition(cri.RuntimeReady).Status })
	network := n.condition(cri.NetworkReady)
	if network.Status || !strings.Contains(network.Message, n.conf) || !strings.Contains(network.Message, "--network-default=bridge") {
		n.Errorf("without a configuration: %v, want not ready and what to do", network)
	}
	n.keepBalance()
	if _, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: n.podConfig()}); err == nil {
		n.Error("a pod runs without a network")
	} else {
		n.wantCode("a pod without a network", err, codes.Unavailable)
	}

	n.writeConf("20-good.conflist", conflist("int-a", "10.61.0.0/24"))
	eventually(n, "the network is ready", func() bool { return n.condition(cri.NetworkReady).Status })
	n.wantAddressIn("10.61.0.")

	n.writeConf("10-broken.conflist", `{"name": "broken", "plugins": [`)
	eventually(n, "verbose Status names the broken file", func() bool { return strings.Contains(n.describe("network"), "10-broken.conflist: ") })
	n.wantAddressIn("10.61.0.")
	if c := n.condition(cri.NetworkReady); !c.Status {
		n.Errorf("a broken file displaced the good one: %v", c)
	}

	n.writeConf("10-broken.conflist", conflist("int-b", "10.62.0.0/24"))
	eventually(n, "the mended file is in use", func() bool { return strings.Contains(n.describe("network"), `"int-b"`) })
	n.wantAddressIn("10.62.0.")
	n.removeConf("10-broken.conflist")
	n.removeConf("20-good.conflist")
	eventually(n, "the network is not ready", func() bool { return !n.condition(cri.NetworkReady).Status })
}

// wantAddressIn runs a pod for its address.
func (n *node) wantAddressIn(prefix string) {
	n.Helper()
	p := n.pod()
	defer n.removePod(p.id)
	if a := p.address(); !strings.HasPrefix(a, prefix) {
		n.Errorf("a new pod has the address %s, want %s...", a, prefix)
	}
}

// describe is a part of verbose Status.
func (n *node) describe(part string) string {
	n.Helper()
	r, err := n.runtime.Status(n.Context(), &cri.StatusRequest{Verbose: true})
	n.must("Status", err)
	return r.GetInfo()[part]
}

// TestStatusNamesMissingPlugin: a configuration alone is no network.
func TestStatusNamesMissingPlugin(t *testing.T) {
	n := bareNode(t)
	n.writeConf("10.conflist", conflist("int-c", "10.63.0.0/24", `{"type": "nowhere"}`))
	eventually(n, "Status names the plugin", func() bool {
		c := n.condition(cri.NetworkReady)
		return !c.Status && strings.Contains(c.Message, "nowhere") && strings.Contains(c.Message, n.plugins)
	})
}

// TestRuntimeConfig: what the kubelet asks for at its start.
func TestRuntimeConfig(t *testing.T) {
	n := newNode(t)
	info, err := n.engine.Info(n.Context())
	n.must("ask the engine", err)
	version, err := n.runtime.Version(n.Context(), &cri.VersionRequest{Version: "v1"})
	n.must("Version", err)
	if version.RuntimeName != "docker" || version.RuntimeVersion != info.ServerVersion || version.RuntimeApiVersion != n.engine.ClientVersion()+".0" {
		n.Errorf("Version says %v, and the engine %s with API %s", version, info.ServerVersion, n.engine.ClientVersion())
	}
	config, err := n.runtime.RuntimeConfig(n.Context(), &cri.RuntimeConfigRequest{})
	n.must("RuntimeConfig", err)
	if driver := config.GetLinux().GetCgroupDriver().String(); !strings.EqualFold(driver, info.CgroupDriver) {
		n.Errorf("cgroup driver %s, and the engine's is %s", driver, info.CgroupDriver)
	}
	status, err := n.runtime.Status(n.Context(), &cri.StatusRequest{})
	n.must("Status", err)
	handlers := map[string]bool{}
	for _, h := range status.GetRuntimeHandlers() {
		handlers[h.GetName()] = true
	}
	for name := range info.Runtimes {
		if !handlers[name] {
			n.Errorf("runtime %s of the engine is no handler of %v", name, status.GetRuntimeHandlers())
		}
	}
	if !handlers[""] {
		n.Error("no default handler")
	}
}

// TestRuntimeHandler: a pod and its containers run with the engine's runtime of
// the handler's name.
func TestRuntimeHandler(t *testing.T) {
	const handler = "runc"
	n := newNode(t)
	p := &pod{node: n, config: n.podConfig()}
	r, err := n.runtime.RunPodSandbox(n.Context(), &cri.RunPodSandboxRequest{Config: p.config, RuntimeHandler: handler})
	n.must("RunPodSandbox", err)
	p.id = r.GetPodSandboxId()
	n.Cleanup(func() { n.removePod(p.id) })
	c := p.container(idle)
	for _, id := range []string{p.id, c.id} {
		if got := n.engine.inspect(n, id).HostConfig.Runtime; got != handler {
			n.Errorf("the engine runs %s with %q", id, got)
		}
	}
	if listed, status := n.listPods(nil)[0].GetRuntimeHandler(), n.podStatus(p.id).GetRuntimeHandler(); listed != handler || status != handler {
		n.Errorf("listed with %q, status says %q", listed, status)
	}
}

// TestPodCIDR: new pods get addresses from the range that the kubelet names.
func TestPodCIDR(t *testing.T) {
	n := newNode(t, "--pod-cidr=10.64.1.0/24")
	n.wantAddressIn("10.64.1.")
	update := func(cidr string) error {
		_, err := n.runtime.UpdateRuntimeConfig(n.Context(), &cri.UpdateRuntimeConfigRequest{
			RuntimeConfig: &cri.RuntimeConfig{NetworkConfig: &cri.NetworkConfig{PodCidr: cidr}},
		})
		return err
	}
	n.must("UpdateRuntimeConfig", update("10.64.2.0/24"))
	n.wantAddressIn("10.64.2.")
	n.must("UpdateRuntimeConfig without a range", update(""))
	n.wantAddressIn("10.64.2.")
	n.must("UpdateRuntimeConfig with both families", update("10.64.3.0/24,fd00:64::/64"))
	p := n.pod()
	if also := p.podStatus(p.id).GetNetwork().GetAdditionalIps(); len(also) != 1 || !strings.HasPrefix(also[0].GetIp(), "fd00:64::") {
		n.Errorf("additional addresses %v, want one of fd00:64::", also)
	}
	for _, bad := range []string{"10.64.3.0", "10.64.3.0/24,10.65.0.0/24", "nonsense"} {
		if message := n.wantCode("pod CIDR "+bad, update(bad), codes.InvalidArgument); !strings.Contains(message, "pod_cidr") {
			n.Errorf("message %q does not name the field", message)
		}
	}
}

// TestNotYetImplemented: the kubelet falls back, or shows the code.
func TestNotYetImplemented(t *testing.T) {
	n := newNode(t)
	ctx := n.Context()
	_, err := n.runtime.ListPodSandboxStats(ctx, &cri.ListPodSandboxStatsRequest{})
	n.wantCode("ListPodSandboxStats", err, codes.Unimplemented)
	events, err := n.runtime.GetContainerEvents(ctx, &cri.GetEventsRequest{})
	if err == nil {
		_, err = events.Recv()
	}
	n.wantCode("GetContainerEvents", err, codes.Unimplemented)
}
