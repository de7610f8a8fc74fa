// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// plugins is a directory of CNI plugins, each of them this test binary, which
// record their calls and misbehave on demand.
type plugins struct {
	t   *testing.T
	dir string
}

// A call is one execution of a plugin.
type call struct {
	Plugin, Command, ID, Netns, IfName, Args string
	PID                                      int
	Stdin                                    struct {
		Name          string
		CNIVersion    string
		Type          string
		RuntimeConfig map[string]any
		PrevResult    json.RawMessage      `json:",omitempty"`
		Valid         []types.GCAttachment `json:"cni.dev/valid-attachments"`
	}
}

func newPlugins(t *testing.T, dir string) *plugins {
	p := &plugins{t, dir}
	p.install("main", "second")
	return p
}

func (p *plugins) install(names ...string) {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(p.dir, name)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// behave makes plugin do something else on command: fail, fail once, garbage, empty, crash,
// null, nulls or hang. With an id only for that sandbox. It does so until withdrawn.
func (p *plugins) behave(plugin, command, behaviour string, id ...string) (withdraw func()) {
	p.t.Helper()
	file := filepath.Join(p.dir, strings.Join(append([]string{plugin, command}, id...), "."))
	write(p.t, file, behaviour)
	return func() {
		if err := os.Remove(file); err != nil {
			p.t.Error(err)
		}
	}
}

// hold makes plugin wait in the middle of command for sandbox id until released.
func (p *plugins) hold(plugin, command, id string) (release func()) {
	p.t.Helper()
	withdraw := p.behave(plugin, command, "hold", id)
	pipe := filepath.Join(p.dir, "held")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return func() {
		withdraw()
		// Opening without a reader fails instead of blocking.
		if f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
		os.Remove(pipe)
	}
}

// give makes ADD of all plugins return these addresses.
func (p *plugins) give(addresses ...string) {
	p.t.Helper()
	write(p.t, filepath.Join(p.dir, "addresses"), strings.Join(addresses, " "))
}

// calls returns the calls so far, oldest first, without those of other commands
// if any are named.
func (p *plugins) calls(commands ...string) []call {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	var all []call
	for d := json.NewDecoder(bytes.NewReader(text)); d.More(); {
		var c call
		if err := d.Decode(&c); err != nil {
			p.t.Fatal(err)
		}
		if len(commands) == 0 || slices.Contains(commands, c.Command) {
			all = append(all, c)
		}
	}
	return all
}

// summary is "COMMAND plugin id" of each call.
func summary(calls []call) []string {
	var s []string
	for _, c := range calls {
		s = append(s, strings.TrimSpace(c.Command+" "+c.Plugin+" "+c.ID))
	}
	return s
}

// pluginMain is what a plugin does.
func pluginMain() int {
	dir, name := filepath.Split(os.Args[0])
	stdin, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 1
	}
	c := call{
		Plugin: name, Command: os.Getenv("CNI_COMMAND"), ID: os.Getenv("CNI_CONTAINERID"), PID: os.Getpid(),
		Netns: os.Getenv("CNI_NETNS"), IfName: os.Getenv("CNI_IFNAME"), Args: os.Getenv("CNI_ARGS"),
	}
	if err := json.Unmarshal(stdin, &c.Stdin); err != nil {
		return 1
	}
	if err := c.record(dir); err != nil {
		return 1
	}
	if code, done := c.misbehave(dir); done {
		return code
	}
	if c.Command == "ADD" {
		return c.add(dir)
	}
	return 0
}

func (c call) record(dir string) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(dir+"calls", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(append(line, '\n'))
	return err
}

func (c call) misbehave(dir string) (code int, done bool) {
	for _, suffix := range []string{"." + c.ID, ""} {
		text, err := os.ReadFile(dir + c.Plugin + "." + c.Command + suffix)
		if err != nil {
			continue
		}
		switch string(text) {
		case "fail once":
			os.Remove(dir + c.Plugin + "." + c.Command + suffix)
			fallthrough
		case "fail":
			fmt.Printf(`{"cniVersion": "1.0.0", "code": 50, "msg": "%s refuses %s"}`, c.Plugin, c.Command)
			return 1, true
		case "crash":
			fmt.Fprintln(os.Stderr, "panic: out of ideas")
			return 2, true
		case "garbage":
			fmt.Print("<html>")
			return 0, true
		case "null":
			fmt.Print("null")
			return 0, true
		case "nulls":
			fmt.Print(`{"cniVersion": "0.4.0", "ips": [null], "interfaces": [null]}`)
			return 0, true
		case "empty":
			fmt.Printf(`{"cniVersion": %q}`, c.Stdin.CNIVersion)
			return 0, true
		case "hold":
			f, err := os.Open(dir + "held") // blocks until somebody opens the other end
			if err == nil {
				f.Close()
			}
		case "hang":
			<-time.After(time.Hour)
		}
	}
	return 0, false
}

func (c call) add(dir string) int {
	if c.Stdin.PrevResult != nil {
		os.Stdout.Write(c.Stdin.PrevResult)
		return 0
	}
	addresses := "10.1.2.3/24"
	if text, err := os.ReadFile(dir + "addresses"); err == nil {
		addresses = string(text)
	}
	result := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	for _, a := range strings.Fields(addresses) {
		ip, ipnet, err := net.ParseCIDR(a)
		if err != nil {
			return 1
		}
		result.IPs = append(result.IPs, &types100.IPConfig{Address: net.IPNet{IP: ip, Mask: ipnet.Mask}})
	}
	if err := types.PrintResult(result, c.Stdin.CNIVersion); err != nil {
		return 1
	}
	return 0
}
