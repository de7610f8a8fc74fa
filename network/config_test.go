// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	const (
		good   = `{"cniVersion": "1.0.0", "name": "NAME", "plugins": [{"type": "main"}]}`
		single = `{"cniVersion": "0.4.0", "name": "NAME", "type": "main"}`
	)
	named := func(text, name string) string { return strings.ReplaceAll(text, "NAME", name) }
	tests := []struct {
		name    string
		before  map[string]string // what an earlier look found
		now     map[string]string
		network string // "" for none
		err     string // "" for none
	}{
		{name: "nothing there"},
		{name: "first in lexical order", now: map[string]string{"20.conflist": named(good, "b"), "10.conflist": named(good, "a")}, network: "a"},
		{name: "single plugins", now: map[string]string{"10.conf": named(single, "a"), "20.json": named(single, "b")}, network: "a"},
		{name: "json is a single plugin", now: map[string]string{"20.json": named(single, "b")}, network: "b"},
		{name: "other files do not count", now: map[string]string{"10.conflist.swp": named(good, "a"), "kubeconfig": "x"}},
		{name: "a broken file is passed over", now: map[string]string{"10.conflist": "{", "20.conflist": named(good, "b")}, network: "b", err: "10.conflist"},
		{name: "an empty file is broken", now: map[string]string{"10.conflist": ""}, err: "10.conflist"},
		{name: "a list in a .conf", now: map[string]string{"10.conf": named(good, "a")}, err: "belongs in a file named .conflist"},
		{name: "no network name", now: map[string]string{"10.conf": `{"cniVersion": "1.0.0", "type": "main"}`}, err: "missing network name"},
		{name: "a name that is a path", now: map[string]string{"10.conflist": named(good, "../a")}, err: "invalid characters"},
		{name: "a version of the future", now: map[string]string{"10.conflist": strings.Replace(named(good, "a"), "1.0.0", "2.0.0", 1)}, err: `"2.0.0" is none of`},
		{name: "one version of several", now: map[string]string{"10.conflist": strings.Replace(named(good, "a"), `"1.0.0"`, `"1.0.0", "cniVersions": ["2.0.0", "1.1.0"]`, 1)}, network: "a"},
		{name: "no plugins", now: map[string]string{"10.conflist": `{"cniVersion": "1.0.0", "name": "a", "plugins": []}`}, err: "no plugins"},
		{name: "an earlier file appears", before: map[string]string{"20.conflist": named(good, "b")},
			now: map[string]string{"10.conflist": named(good, "a"), "20.conflist": named(good, "b")}, network: "a"},
		{name: "the file in use breaks", before: map[string]string{"10.conflist": named(good, "a")},
			now: map[string]string{"10.conflist": "{", "20.conflist": named(good, "b")}, network: "a", err: "10.conflist"},
		{name: "an earlier file appears broken", before: map[string]string{"20.conflist": named(good, "b")},
			now: map[string]string{"10.conflist": "{", "20.conflist": named(good, "c")}, network: "c", err: "10.conflist"},
		{name: "the file in use goes, a broken one stays", before: map[string]string{"10.conflist": named(good, "a")},
			now: map[string]string{"20.conflist": "{"}, network: "a", err: "20.conflist"},
		{name: "the file in use goes, a good one stays", before: map[string]string{"10.conflist": named(good, "a")},
			now: map[string]string{"20.conflist": named(good, "b")}, network: "b"},
		{name: "all files go", before: map[string]string{"10.conflist": named(good, "a")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			last := choose(fill(t, t.TempDir(), test.before), choice{})
			dir := t.TempDir()
			if last.file != "" {
				last.file = filepath.Join(dir, filepath.Base(last.file))
			}
			got := choose(fill(t, dir, test.now), last)
			var network string
			if got.list != nil {
				network = got.list.Name
			}
			if network != test.network {
				t.Errorf("network %q, want %q", network, test.network)
			}
			if test.err != "" {
				wantError(t, got.err, test.err)
			} else if got.err != nil {
				t.Error(got.err)
			}
		})
	}
}

func fill(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func TestChooseFromAbsentDirectory(t *testing.T) {
	if c := choose(filepath.Join(t.TempDir(), "absent"), choice{}); c.list != nil || c.err != nil {
		t.Errorf("got %+v, want nothing", c)
	}
}

func TestUnreadableDirectoryKeepsTheLast(t *testing.T) {
	dir := t.TempDir()
	last := choose(fill(t, dir, map[string]string{"10.conflist": conflist("1.0.0", "main")}), choice{})
	file := filepath.Join(t.TempDir(), "a-file")
	write(t, file, "")
	got := choose(file, last)
	if got.list != last.list {
		t.Error("the last configuration is gone")
	}
	wantError(t, got.err, "read CNI configurations")
}

// Since libcni 1.3 plugins may come from a folder named like the network. DEL
// needs them too, when the folder is gone.
func TestPluginsOfAFolder(t *testing.T) {
	n := newNode(t)
	n.writeConf("10-test.conflist", `{"cniVersion": "1.1.0", "name": "test", "plugins": [{"type": "main"}]}`)
	folder := filepath.Join(n.config.ConfDir, "test")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	n.writeConf("test/10-second.conf", `{"type": "second"}`)
	n.restart(t)
	attached(t, n, "s1")
	if err := os.RemoveAll(n.config.ConfDir); err != nil {
		t.Fatal(err)
	}
	n.restart(t)
	if err := n.Detach(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "calls", summary(n.calls()), []string{"ADD main s1", "ADD second s1", "DEL second s1", "DEL main s1"})
}

// follow runs n until the test ends.
func follow(t *testing.T, n *node) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// describes waits until n says that it uses network, and what is broken.
func describes(t *testing.T, n *node, network, broken string) {
	t.Helper()
	eventually(t, "network "+network+" is in use", func() bool {
		d := n.Describe()
		return d.Network == network && strings.Contains(d.LoadError, broken) && (d.LoadError == "") == (broken == "")
	})
}

func TestRunWatches(t *testing.T) {
	n := newNode(t)
	n.limits.poll = time.Hour
	follow(t, n)
	describes(t, n, "test", "")
	n.writeConf("05-new.conflist", `{"cniVersion": "1.0.0", "name": "new", "plugins": [{"type": "main"}]}`)
	describes(t, n, "new", "")
	n.writeConf("05-new.conflist", `{"cniVersion": "1.0.0", "name": "newer", "plug`)
	describes(t, n, "new", "05-new.conflist")
	if err := n.Status(t.Context()); err != nil {
		t.Errorf("a broken file made the network unready: %v", err)
	}
	for _, name := range []string{"05-new.conflist", "10-test.conflist"} {
		if err := os.Remove(filepath.Join(n.config.ConfDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	describes(t, n, "", "")
	wantError(t, n.Status(t.Context()), "no CNI configuration", n.config.ConfDir, "--network-default=bridge")
}

func TestRunFindsANewDirectory(t *testing.T) {
	n := newNode(t)
	n.limits.poll = 100 * time.Millisecond
	if err := os.RemoveAll(n.config.ConfDir); err != nil {
		t.Fatal(err)
	}
	follow(t, n)
	describes(t, n, "", "")
	for range 2 {
		if err := os.Mkdir(n.config.ConfDir, 0o755); err != nil {
			t.Fatal(err)
		}
		n.writeConf("10-test.conf", `{"cniVersion": "1.0.0", "name": "again", "type": "main"}`)
		describes(t, n, "again", "")
		if err := os.RemoveAll(n.config.ConfDir); err != nil {
			t.Fatal(err)
		}
		describes(t, n, "", "")
	}
}

func TestNothingValid(t *testing.T) {
	n := newNode(t)
	n.writeConf("10-test.conflist", "{")
	n.restart(t)
	wantError(t, n.Status(t.Context()), "no valid CNI configuration", "10-test.conflist")
}

func TestBuiltInBridge(t *testing.T) {
	n := newNode(t, func(c *Config) { c.Default, c.HairpinMode = DefaultBridge, true })
	if d := n.Describe(); d.Network != "test" {
		t.Errorf("network %s is in use, want that of the file", d.Network)
	}
	if err := os.Remove(filepath.Join(n.config.ConfDir, "10-test.conflist")); err != nil {
		t.Fatal(err)
	}
	n.restart(t)
	wantEqual(t, "plugins", n.Describe().Plugins, []string{"bridge", "portmap", "firewall"})
	subnets := func() []string {
		t.Helper()
		list, err := n.inUse()
		if err != nil {
			t.Fatal(err)
		}
		var bridge struct {
			HairpinMode, IsGateway, IPMasq bool

			IPAM struct {
				Ranges [][]ipRange
				Routes []struct{ Dst string }
			}
		}
		if err := json.Unmarshal(list.Plugins[0].Bytes, &bridge); err != nil {
			t.Fatal(err)
		}
		if !bridge.HairpinMode || !bridge.IsGateway || !bridge.IPMasq {
			t.Errorf("something is off: %+v", bridge)
		}
		var s []string
		for i, set := range bridge.IPAM.Ranges {
			s = append(s, set[0].Subnet+" "+bridge.IPAM.Routes[i].Dst)
		}
		return s
	}
	wantEqual(t, "ranges", subnets(), []string{DefaultPodCIDR + " 0.0.0.0/0"})
	if err := n.SetPodCIDRs([]string{"10.7.0.9/24", "fd00:7::/64"}); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "ranges", subnets(), []string{"10.7.0.0/24 0.0.0.0/0", "fd00:7::/64 ::/0"})
	wantEqual(t, "described ranges", n.Describe().PodCIDRs, []string{"10.7.0.0/24", "fd00:7::/64"})
}

func TestPodCIDRsReachPlugins(t *testing.T) {
	n := newNode(t, func(c *Config) { c.PodCIDRs = []string{"10.7.0.0/24"} })
	attached(t, n, "before")
	if err := n.SetPodCIDRs([]string{"10.8.0.0/24", "fd00:8::/64"}); err != nil {
		t.Fatal(err)
	}
	attached(t, n, "after")
	wantError(t, n.SetPodCIDRs([]string{"10.9.0.0/24", "10.10.0.0/31"}), "10.10.0.0/31: too small", "one per address family")
	attached(t, n, "unchanged")
	if err := n.Detach(t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"ipRanges":[[{"subnet":"10.7.0.0/24"}]]}`,
		`{"ipRanges":[[{"subnet":"10.8.0.0/24"}],[{"subnet":"fd00:8::/64"}]]}`,
		`{"ipRanges":[[{"subnet":"10.8.0.0/24"}],[{"subnet":"fd00:8::/64"}]]}`,
		`{"ipRanges":[[{"subnet":"10.7.0.0/24"}]]}`, // DEL, as the ADD was
	}
	var got []string
	for _, c := range n.calls() {
		text, err := json.Marshal(c.Stdin.RuntimeConfig)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
	}
	wantEqual(t, "runtimeConfig", got, want)
}

func TestDescriptionAsJSON(t *testing.T) {
	n := newNode(t)
	d := n.Describe()
	d.ConfDir, d.File, d.BinDirs = "/etc/cni/net.d", filepath.Base(d.File), []string{"/opt/cni/bin"}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"confDir":"/etc/cni/net.d","binDirs":["/opt/cni/bin"],"file":"10-test.conflist","network":"test","cniVersion":"1.0.0","plugins":["main"]}`
	if string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

func FuzzLoadFile(f *testing.F) {
	f.Add(conflist("1.1.0", "main", "second"), true)
	f.Add(`{"cniVersion": "0.4.0", "name": "a", "type": "main"}`, false)
	f.Add(`{"name": "a", "plugins": [{"type": "x"}, null]}`, true)
	f.Fuzz(func(t *testing.T, text string, isList bool) {
		name := "10.conf"
		if isList {
			name = "10.conflist"
		}
		file := filepath.Join(t.TempDir(), name)
		write(t, file, text)
		list, err := loadFile(file)
		if err != nil {
			return
		}
		if list.Name == "" || len(list.Plugins) == 0 {
			t.Errorf("accepted %q without name or plugins", text)
		}
		// What DEL reads back from the cache must be the same.
		again, err := inline(list)
		if err != nil || string(again.Bytes) != string(list.Bytes) {
			t.Errorf("%s becomes %v: %v", list.Bytes, again, err)
		}
	})
}
