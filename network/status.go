// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
)

// Addresses returns the addresses of an attached sandbox, IPv4 first, or nil if
// it has none.
func (n *Network) Addresses(id string) []string {
	cached, err := n.cni.GetCachedAttachments(id)
	if err != nil || id == "" {
		return nil
	}
	for _, a := range cached {
		// Older shims attached "lo" through a plugin, with an entry of its own.
		if a.IfName != interfaceName {
			continue
		}
		if addresses, err := n.cachedAddresses(a); err == nil {
			return addresses
		}
	}
	return nil
}

func (n *Network) cachedAddresses(a *libcni.NetworkAttachment) ([]string, error) {
	list, err := libcni.NetworkConfFromBytes(a.Config)
	if err != nil {
		return nil, err
	}
	result, err := n.cni.GetNetworkListCachedResult(list, runtimeConf(a))
	if err != nil {
		return nil, err
	}
	return resultAddresses(result)
}

// Check runs CHECK, which tells whether the sandbox's network is still as ADD
// left it. Networks that cannot tell (CNI before 0.4.0, disableCheck) pass. A
// sandbox that is not attached is an errdefs.ErrNotFound.
func (n *Network) Check(ctx context.Context, id string) error {
	cached, err := n.cni.GetCachedAttachments(id)
	if err != nil {
		return fmt.Errorf("check sandbox %s: %w", id, err)
	}
	if len(cached) == 0 || id == "" {
		return fmt.Errorf("check sandbox %s: it is not attached to a network: %w", id, errdefs.ErrNotFound)
	}
	for _, a := range cached {
		if err := n.check(ctx, a); err != nil {
			return fmt.Errorf("check sandbox %s: network %s: %w", id, a.Network, err)
		}
	}
	return nil
}

func (n *Network) check(ctx context.Context, a *libcni.NetworkAttachment) error {
	list, err := libcni.NetworkConfFromBytes(a.Config)
	if err != nil {
		return err
	}
	rt := runtimeConf(a)
	if rt.NetNS = n.reachable(a); rt.NetNS == "" {
		return errors.New("the network namespace is gone")
	}
	err = n.cni.CheckNetworkList(ctx, list, rt)
	if errors.Is(err, libcni.ErrorCheckNotSupp) {
		return nil
	}
	return err
}

// Status returns nil if pods can be attached; else the error says why not and
// what to do. It asks the plugins too (STATUS), where the configuration is of
// CNI 1.1 or newer.
func (n *Network) Status(ctx context.Context) error {
	list, err := n.inUse()
	if err != nil {
		return err
	}
	if err := n.findPlugins(list); err != nil {
		return fmt.Errorf("network %s: %w", list.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, n.limits.status)
	defer cancel()
	if err := n.cni.GetStatusNetworkList(ctx, list); err != nil {
		return fmt.Errorf("network %s: a plugin reports that it is not ready: %w", list.Name, err)
	}
	return nil
}

// findPlugins returns an error that names the plugins of list which no
// directory has.
func (n *Network) findPlugins(list *libcni.NetworkConfigList) error {
	var missing []string
	for _, p := range list.Plugins {
		if _, err := invoke.FindInPath(p.Network.Type, n.config.BinDirs); err != nil {
			missing = append(missing, p.Network.Type)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("CNI plugin %s not found in %s: install it there, or correct --cni-bin-dir",
		strings.Join(missing, ", "), strings.Join(n.config.BinDirs, " or "))
}

// Description is what Status shows of the network to people.
type Description struct {
	ConfDir string   `json:"confDir"`
	BinDirs []string `json:"binDirs"`
	// File is "" if no configuration is in use, or the built-in one.
	File       string   `json:"file,omitempty"`
	Network    string   `json:"network,omitempty"`
	CNIVersion string   `json:"cniVersion,omitempty"`
	Plugins    []string `json:"plugins,omitempty"`
	PodCIDRs   []string `json:"podCIDRs,omitempty"`
	// LoadError is why files were passed over, or a new version of File; "" if none were.
	LoadError string `json:"loadError,omitempty"`
}

// Describe returns the configuration in use and what is wrong with others.
func (n *Network) Describe() Description {
	d := Description{ConfDir: n.config.ConfDir, BinDirs: n.config.BinDirs}
	list, _ := n.inUse()
	n.mu.Lock()
	defer n.mu.Unlock()
	d.File = n.choice.file
	if n.choice.err != nil {
		d.LoadError = n.choice.err.Error()
	}
	for _, c := range n.podCIDRs {
		d.PodCIDRs = append(d.PodCIDRs, c.String())
	}
	if list == nil {
		return d
	}
	d.Network, d.CNIVersion = list.Name, list.CNIVersion
	for _, p := range list.Plugins {
		d.Plugins = append(d.Plugins, p.Network.Type)
	}
	return d
}
