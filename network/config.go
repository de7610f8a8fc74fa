// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"
)

// settleTime lets whoever writes a file finish it.
const settleTime = 100 * time.Millisecond

// A choice is the outcome of a look at ConfDir.
type choice struct {
	file string                    // where list comes from
	list *libcni.NetworkConfigList // nil if no file is, or was, valid
	err  error                     // why files before it were passed over, or a new version of it
}

// choose picks the first valid file of dir in lexical order. A file that broke
// does not displace last, which came from it; nor does last go as long as the
// directory holds something, if only broken: somebody is at work there.
func choose(dir string, last choice) choice {
	files, err := libcni.ConfFiles(dir, []string{".conf", ".conflist", ".json"})
	if err != nil {
		return choice{last.file, last.list, fmt.Errorf("read CNI configurations: %w", err)}
	}
	slices.Sort(files)
	var broken []error
	for _, file := range files {
		list, err := loadFile(file)
		switch {
		case err == nil:
			return choice{file, list, errors.Join(broken...)}
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
			continue
		}
		broken = append(broken, fmt.Errorf("%s: %w", file, err))
		if file == last.file {
			break
		}
	}
	if len(broken) == 0 {
		return choice{}
	}
	return choice{last.file, last.list, errors.Join(broken...)}
}

// loadFile reads a list of plugins or, except from a .conflist, a single plugin.
func loadFile(file string) (*libcni.NetworkConfigList, error) {
	var list *libcni.NetworkConfigList
	var err error
	if filepath.Ext(file) == ".conflist" {
		list, err = libcni.NetworkConfFromFile(file)
	} else {
		list, err = loadPlugin(file)
	}
	if err != nil {
		return nil, err
	}
	if err := validate(list); err != nil {
		return nil, err
	}
	return inline(list)
}

func loadPlugin(file string) (*libcni.NetworkConfigList, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	plugin, err := libcni.NetworkPluginConfFromBytes(text)
	if err != nil {
		return nil, fmt.Errorf("%w; a list of plugins belongs in a file named .conflist", err)
	}
	return newList(map[string]any{
		"name":       plugin.Network.Name,
		"cniVersion": plugin.Network.CNIVersion,
		"plugins":    []json.RawMessage{text},
	})
}

// validate refuses what would only fail at the first pod.
func validate(list *libcni.NetworkConfigList) error {
	if err := utils.ValidateNetworkName(list.Name); err != nil {
		return err
	}
	if list.CNIVersion != "" && !slices.Contains(version.All.SupportedVersions(), list.CNIVersion) {
		return fmt.Errorf("cniVersion %q is none of %s", list.CNIVersion, strings.Join(version.All.SupportedVersions(), ", "))
	}
	return nil
}

// inline makes list's text hold all of its plugins. Those that libcni reads from
// the folder beside the file are not in it, and the text is what DEL works from
// when file and folder may be gone.
func inline(list *libcni.NetworkConfigList) (*libcni.NetworkConfigList, error) {
	var config map[string]any
	if err := json.Unmarshal(list.Bytes, &config); err != nil {
		return nil, err
	}
	var plugins []json.RawMessage
	for _, p := range list.Plugins {
		plugins = append(plugins, p.Bytes)
	}
	config["plugins"], config["loadOnlyInlinedPlugins"] = plugins, true
	return newList(config)
}

func newList(config map[string]any) (*libcni.NetworkConfigList, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	return libcni.NetworkConfFromBytes(text)
}

// Run follows changes of ConfDir until ctx ends, then returns nil. The
// configuration that New found is in use before.
func (n *Network) Run(ctx context.Context) error {
	var events chan fsnotify.Event
	var lost chan error
	watch := func() {}
	if watcher, err := fsnotify.NewWatcher(); err != nil {
		klog.FromContext(ctx).Error(err, "cannot watch the CNI configuration; looking at it now and then", "interval", n.limits.poll)
	} else {
		defer watcher.Close()
		events, lost = watcher.Events, watcher.Errors
		// Looking now and then finds what no watch tells: a directory that comes
		// later or again, and the folders that add plugins to a file.
		watch = func() { _ = watcher.Add(n.config.ConfDir) }
	}
	poll := time.NewTicker(n.limits.poll)
	defer poll.Stop()
	settled := time.NewTimer(0)
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
			settled.Reset(settleTime)
			continue
		case <-lost: // some events; look anyway
		case <-poll.C:
		case <-settled.C:
		}
		watch() // before the look: what changes after it is an event
		n.reload(ctx)
	}
}

// reload looks at ConfDir again. Only Run calls it, so no look overtakes another.
func (n *Network) reload(ctx context.Context) {
	n.mu.Lock()
	last := n.choice
	n.mu.Unlock()
	next := choose(n.config.ConfDir, last)
	n.mu.Lock()
	n.choice = next
	n.mu.Unlock()
	next.logChange(ctx, last)
}

func (c choice) logChange(ctx context.Context, last choice) {
	log := klog.FromContext(ctx)
	if c.file != last.file || !bytes.Equal(c.text(), last.text()) {
		log.Info("CNI configuration changed", "file", c.file, "previousFile", last.file)
	}
	if c.err != nil && (last.err == nil || c.err.Error() != last.err.Error()) {
		log.Error(c.err, "CNI configuration is broken", "fileInUse", c.file)
	}
}

func (c choice) text() []byte {
	if c.list == nil {
		return nil
	}
	return c.list.Bytes
}

// inUse returns the configuration for new pods, or an error that says how to get one.
func (n *Network) inUse() (*libcni.NetworkConfigList, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.choice.list != nil:
		return n.choice.list, nil
	case n.bridge != nil:
		return n.bridge, nil
	case n.choice.err != nil:
		return nil, fmt.Errorf("no valid CNI configuration in %s: %w", n.config.ConfDir, n.choice.err)
	}
	return nil, fmt.Errorf("no CNI configuration in %s: install a network add-on, which puts a file there and plugins in %s, or start with --network-default=%s",
		n.config.ConfDir, strings.Join(n.config.BinDirs, " or "), DefaultBridge)
}

// SetPodCIDRs says which ranges pods get their addresses from, at most one per
// address family. Pods attached from now on get the ranges as the ipRanges
// capability, or from the built-in bridge; others keep their addresses. None
// means unknown.
func (n *Network) SetPodCIDRs(cidrs []string) error {
	podCIDRs, err := parsePodCIDRs(cidrs)
	if err != nil {
		return err
	}
	var bridge *libcni.NetworkConfigList
	if n.config.Default == DefaultBridge {
		if bridge, err = bridgeNetwork(podCIDRs, n.config.HairpinMode); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.podCIDRs, n.bridge = podCIDRs, bridge
	return nil
}

func (n *Network) cidrs() []netip.Prefix {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.podCIDRs
}
