// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/dockershimd/dockershimd/internal/golden"
)

func TestFlagsDocument(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Flags\n\nGenerated from the command line by `make fix`.\n\n| flag | default | meaning |\n|---|---|---|\n")
	command().Flags().VisitAll(func(f *pflag.Flag) {
		def := "`" + f.DefValue + "`"
		if f.DefValue == "" {
			def = "none"
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", f.Name, def, strings.ReplaceAll(f.Usage, "|", `\|`))
	})
	golden.File(t, "../../docs/flags.md", b.Bytes())
}

// existingFlags are those of cri-dockerd, which unit files and scripts use.
var existingFlags = []string{
	"container-runtime-endpoint", "docker-endpoint", "cri-dockerd-root-directory", "pod-infra-container-image",
	"image-pull-progress-deadline", "runtime-request-timeout", "streaming-bind-addr", "pod-cidr", "ipv6-dual-stack",
	"network-plugin", "cni-conf-dir", "cni-bin-dir", "cni-cache-dir", "network-plugin-mtu", "hairpin-mode",
	"runtime-cgroups", "log-level", "version", "buildinfo", "help",
}

func TestExistingFlagsAreTaken(t *testing.T) {
	c := command()
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	for _, name := range existingFlags {
		if c.Flags().Lookup(name) == nil {
			t.Errorf("--%s is not taken", name)
		}
	}
}

// parsed is what complete makes of a command line.
func parsed(t *testing.T, args ...string) (options, error) {
	t.Helper()
	var o options
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.bind(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o, o.complete(f)
}

func TestExistingCommandLines(t *testing.T) {
	o, err := parsed(t, "--container-runtime-endpoint", "fd://", "--pod-infra-container-image=registry.k8s.io/pause:3.9",
		"--network-plugin=cni", "--hairpin-mode=hairpin-veth", "--pod-cidr=10.1.0.0/24,fd00:1::/64", "--ipv6-dual-stack=True",
		"--cni-bin-dir=/opt/cni/bin", "--log-level", "debug", "--runtime-request-timeout=15m", "--streaming-bind-addr=:10010")
	if err != nil {
		t.Fatal(err)
	}
	if !o.network.HairpinMode || len(o.network.PodCIDRs) != 2 || len(o.network.BinDirs) != 1 || o.adapter.PauseImage != "registry.k8s.io/pause:3.9" || o.streams.Addr != ":10010" {
		t.Errorf("options %+v", o)
	}
}

func TestRefusedCommandLines(t *testing.T) {
	for flag, advice := range map[string]string{
		"--network-plugin=kubenet":           "--network-default=bridge",
		"--hairpin-mode=sometimes":           "hairpin-veth",
		"--log-level=shouting":               "shouting",
		"--oom-score-adj=maybe":              "exact",
		"--container-logs=journald":          "json-file",
		"--container-logs-spool-files=1":     "fewer than 2",
		"--container-logs-spool-size=much":   "no size",
		"--cri-dockerd-root-directory=state": "absolute",
		"--pod-infra-container-image=":       "pause image",
		"--image-pull-progress-deadline=-1s": "negative",
		"--pod-cidr=10.1.0.0":                "10.1.0.0",
		"--network-default=overlay":          "overlay",
		"--streaming-bind-addr=1.2.3.4:x":    "1.2.3.4:x",
		"--streaming-tls-cert-file=/a.pem":   "key",
		"--streaming-client-ca-file=/ca.pem": "certificate",
		"--streaming-idle-timeout=-1s":       "idle timeout",
	} {
		if _, err := parsed(t, flag); err == nil || !strings.Contains(err.Error(), advice) {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if _, err := parsed(t, "--network-plugin=kubenet", "--oom-score-adj=maybe"); err == nil || len(strings.Split(err.Error(), "\n")) < 2 {
		t.Errorf("not all problems at once: %v", err)
	}
}
