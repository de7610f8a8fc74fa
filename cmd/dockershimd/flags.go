// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/dockershimd/dockershimd/adapter"
	"github.com/dockershimd/dockershimd/logs"
	"github.com/dockershimd/dockershimd/network"
	"github.com/dockershimd/dockershimd/streaming"
)

// options is what the flags say, as far as no package's Config holds it.
type options struct {
	listen  string
	root    string
	adapter adapter.Config
	network network.Config
	streams streaming.Config
	logs    logs.Config

	cniBinDirs    string
	podCIDRs      string
	networkPlugin string
	hairpinMode   string
	logLevel      string
	containerLogs string

	requestTimeout time.Duration
	runtimeCgroups string
	dualStack      bool
	pluginMTU      int
	buildInfo      bool
}

// command is the daemon as a command line.
func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "dockershimd",
		Short:         "Let a kubelet use Docker Engine",
		Long:          "dockershimd serves the Kubernetes Container Runtime Interface (CRI) and runs pods on Docker Engine.",
		Args:          cobra.NoArgs,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.buildInfo {
				fmt.Fprintln(c.OutOrStdout(), "dockershimd", version)
				return nil
			}
			if err := o.complete(c.Flags()); err != nil {
				return err
			}
			return run(c.Context(), o)
		},
	}
	// The daemon has no subcommands yet that would need completions.
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetVersionTemplate("dockershimd {{.Version}}\n")
	o.bind(c.Flags())
	return c
}

// bind declares the flags. The first groups have the existing adapter's names,
// so that unit files and scripts keep working.
func (o *options) bind(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&o.listen, "container-runtime-endpoint", "unix:///run/cri-dockerd.sock", "socket to serve CRI on: unix://PATH, a bare path, or fd:// for the socket that systemd passes")
	f.StringVar(&o.adapter.Endpoint, "docker-endpoint", "unix:///var/run/docker.sock", "engine to use; empty means $DOCKER_HOST")
	f.StringVar(&o.root, "cri-dockerd-root-directory", "/var/lib/cri-dockerd", "directory of the daemon's own state: how far each container's log has been carried over, limits and mounts that it has made for containers")
	f.StringVar(&o.adapter.PauseImage, "pod-infra-container-image", "registry.k8s.io/pause:3.10", "image of the pause containers; a built-in one serves where it can be neither found nor pulled")
	f.DurationVar(&o.adapter.PullProgressDeadline, "image-pull-progress-deadline", time.Minute, "cancel a pull after this time without progress, unpacking not counted; 0 never does")
	f.DurationVar(&o.requestTimeout, "runtime-request-timeout", 0, "accepted and not needed: each request carries its own deadline")
	o.bindStreaming(f)
	o.bindContainerLogs(f)

	f.StringVar(&o.podCIDRs, "pod-cidr", "", "pod address ranges of this node, comma separated, at most one per address family; the kubelet's word replaces them")
	f.BoolVar(&o.dualStack, "ipv6-dual-stack", false, "accepted and not needed: all addresses that CNI assigns are reported")
	f.StringVar(&o.networkPlugin, "network-plugin", "cni", "only cni is supported")
	f.StringVar(&o.network.ConfDir, "cni-conf-dir", "/etc/cni/net.d", "directory of CNI configurations")
	f.StringVar(&o.cniBinDirs, "cni-bin-dir", "/opt/cni/bin,/usr/lib/cni", "directories of CNI plugins, comma separated")
	f.StringVar(&o.network.CacheDir, "cni-cache-dir", "/var/lib/cni/cache", "directory of CNI results; no other runtime may use it")
	f.IntVar(&o.pluginMTU, "network-plugin-mtu", 0, "accepted and ignored: kubenet alone used it")
	f.StringVar(&o.hairpinMode, "hairpin-mode", "none", "none, or hairpin-veth to let pods of the built-in network reach themselves through a service")
	f.StringVar(&o.runtimeCgroups, "runtime-cgroups", "", "accepted and ignored: systemd puts the daemon into its cgroup")
	f.StringVar(&o.logLevel, "log-level", "info", "panic, fatal, error, warn, info, debug or trace; --v is finer")

	f.StringVar(&o.network.NetnsDir, "netns-dir", network.DefaultNetnsDir, "directory that pins the pods' network namespaces")
	f.StringVar(&o.network.Default, "network-default", "", "bridge: use a built-in bridge network for as long as there is no CNI configuration")
	f.StringVar(&o.adapter.OOMScoreAdj, "oom-score-adj", adapter.OOMScoreAuto, "auto clamps OOM scores that the engine lacks the right to set, exact never, clamp always")
	f.StringVar(&o.adapter.ResolvConf, "resolv-conf", "/etc/resolv.conf", "resolver configuration for pods that bring none")
	f.BoolVar(&o.buildInfo, "buildinfo", false, "print the version and exit")
	o.bindLogging(f)
}

// bindStreaming adds what exec, attach and port-forward need.
func (o *options) bindStreaming(f *pflag.FlagSet) {
	f.StringVar(&o.streams.Addr, "streaming-bind-addr", "127.0.0.1:0", "address and port of exec, attach and port-forward; port 0 takes any that is free. Whoever can read the kubelet's traffic to another address than loopback can run commands in pods, unless it is TLS")
	f.StringVar(&o.streams.CertFile, "streaming-tls-cert-file", "", "certificate with which exec, attach and port-forward are served by TLS; read again when it changes")
	f.StringVar(&o.streams.KeyFile, "streaming-tls-key-file", "", "key of that certificate")
	f.StringVar(&o.streams.ClientCAFile, "streaming-client-ca-file", "", "authorities that clients of exec, attach and port-forward must have a certificate of; needs the certificate")
	f.DurationVar(&o.streams.IdleTimeout, "streaming-idle-timeout", streaming.DefaultIdleTimeout, "end exec, attach and port-forward sessions on which nothing moves for this time")
	f.DurationVar(&o.streams.CreationTimeout, "streaming-creation-timeout", streaming.DefaultCreationTimeout, "how long a client of exec, attach or port-forward may take to open its streams")
}

// Values of --container-logs.
const (
	logsCRI  = "cri"
	logsLink = "json-file"
)

// bindContainerLogs adds how the output of containers is kept.
func (o *options) bindContainerLogs(f *pflag.FlagSet) {
	f.StringVar(&o.containerLogs, "container-logs", logsCRI, "what the kubelet's log paths of new containers become: cri writes files of CRI's format, json-file links to Docker's own files, as older adapters did")
	f.StringVar(&o.adapter.Logs.SpoolSize, "container-logs-spool-size", "32m", "size at which Docker begins another file of a container's output, from which logs are written; with the next flag it bounds the disk that docker logs takes, and how long the daemon may be away. Empty leaves both to Docker")
	f.IntVar(&o.adapter.Logs.SpoolFiles, "container-logs-spool-files", 3, "how many such files Docker keeps of a container, at least 2")
}

// bindLogging adds klog's verbosity; most of its other flags are deprecated.
func (o *options) bindLogging(f *pflag.FlagSet) {
	all := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(all)
	v := pflag.PFlagFromGoFlag(all.Lookup("v"))
	v.Usage = "log level: 0 what an operator acts on, 2 calls that change something, 4 calls that read"
	f.AddFlag(v)
}

// logLevels are klog's levels for the names that the existing adapter takes.
var logLevels = map[string]string{
	"panic": "0", "fatal": "0", "error": "0", "warn": "0", "warning": "0", "info": "0", "debug": "4", "trace": "6",
}

// complete turns what flags say in text into what packages take, and lists all
// that is wrong with it.
func (o *options) complete(f *pflag.FlagSet) error {
	var errs []error
	note := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--%s: "+format, append([]any{name}, args...)...))
	}
	if o.networkPlugin != "cni" {
		note("network-plugin", "%q is not supported; use cni, with --network-default=bridge where there is no CNI configuration", o.networkPlugin)
	}
	switch o.hairpinMode {
	case "none", "promiscuous-bridge":
	case "hairpin-veth":
		o.network.HairpinMode = true
	default:
		note("hairpin-mode", "%q is none of none, hairpin-veth, promiscuous-bridge", o.hairpinMode)
	}
	level, known := logLevels[o.logLevel]
	if !known {
		note("log-level", "%q is no level", o.logLevel)
	} else if !f.Changed("v") {
		if err := f.Set("v", level); err != nil {
			note("log-level", "%w", err)
		}
	}
	switch o.containerLogs {
	case logsCRI, logsLink:
		o.adapter.Logs.Linked = o.containerLogs == logsLink
	default:
		note("container-logs", "%q is none of cri, json-file", o.containerLogs)
	}
	o.logs.Dir = filepath.Join(o.root, "logs")
	o.network.BinDirs = commaList(o.cniBinDirs)
	o.network.PodCIDRs = commaList(o.podCIDRs)
	if o.adapter.Endpoint == "" {
		o.adapter.Endpoint = os.Getenv("DOCKER_HOST")
	}
	return errors.Join(append(errs, o.adapter.Validate(), o.network.Validate(), o.streams.Validate(), o.logs.Validate())...)
}

// commaList is a comma-separated list without empty parts.
func commaList(text string) []string {
	return slices.DeleteFunc(strings.Split(text, ","), func(part string) bool { return strings.TrimSpace(part) == "" })
}
