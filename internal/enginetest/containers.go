// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// A new container shows what was asked for, and no trace of having run.
func containerCreated(b *bench) {
	config, host := b.config(idle...), alone()
	config.Hostname, config.Env, config.WorkingDir = "web-0", []string{"A=b=c"}, "/bin"
	host.Memory, host.CPUShares, host.OomScoreAdj = 64<<20, 512, 7
	host.ReadonlyRootfs = true
	host.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m"}}
	before := time.Now()
	id := b.create(config, host, b.name("new"))

	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(id) {
		b.Errorf("id %q, want 64 hexadecimal digits", id)
	}
	c := b.inspect(id)
	b.equal("id", c.ID, id)
	b.equal("name", c.Name, "/"+b.name("new"))
	b.equal("image id", c.Image, b.image)
	b.equal("image", c.Config.Image, b.image)
	b.equal("hostname", c.Config.Hostname, "web-0")
	b.equal("working directory", c.Config.WorkingDir, "/bin")
	b.equal("first variable", c.Config.Env[0], "A=b=c")
	b.equal("network mode", string(c.HostConfig.NetworkMode), "none")
	b.equal("memory", c.HostConfig.Memory, int64(64<<20))
	b.equal("CPU shares", c.HostConfig.CPUShares, int64(512))
	b.equal("OOM score", c.HostConfig.OomScoreAdj, 7)
	b.equal("read-only", c.HostConfig.ReadonlyRootfs, true)
	b.equal("log", c.HostConfig.LogConfig, host.LogConfig)
	b.equal("path", append([]string{c.Path}, c.Args...), idle)
	if created := b.moment("created", c.Created); created.Before(before.Add(-time.Second)) || created.After(time.Now().Add(time.Second)) {
		b.Errorf("created at %v, want now", created)
	}
	b.equal("state", *c.State, container.State{
		Status: "created", StartedAt: "0001-01-01T00:00:00Z", FinishedAt: "0001-01-01T00:00:00Z",
	})
	b.equal("resolv.conf before the first start", c.ResolvConfPath, "")
	b.equal("log before the first start", c.LogPath, "")
}

// A container takes its command, variables and labels from the image, beneath
// its own. An image's labels thus look like the container's.
func containerInheritsFromImage(b *bench) {
	config := b.config()
	config.Env = []string{"FROM_IMAGE=no"}
	c := b.inspect(b.create(config, alone(), b.name("inherits")))
	b.equal("command", []string(c.Config.Cmd), idle)
	b.equal("variables", c.Config.Env, []string{"FROM_IMAGE=no", "PATH=/bin"})
	b.equal("labels", c.Config.Labels, map[string]string{label: b.token, "enginetest.image": "yes"})

	config.Labels["enginetest.image"] = "own"
	c = b.inspect(b.create(config, alone(), b.name("overrides")))
	b.equal("own label", c.Config.Labels["enginetest.image"], "own")
}

// A name is unique, has at least two characters, and only some of them.
func containerNames(b *bench) {
	attempt := func(name string) error {
		response, err := b.ContainerCreate(b.Context(), b.config(idle...), alone(), nil, nil, name)
		if err == nil {
			b.Cleanup(func() { b.discard(response.ID) })
		}
		return err
	}
	long := b.name(strings.Repeat("n", 300))
	odd := b.name("k8s_POD_a.b-c_d__1")
	for _, name := range []string{long, odd} {
		b.wantKind("create "+name, attempt(name), none)
		b.wantKind("create a second "+name, attempt(name), conflict)
		b.wantKind("create a second /"+name, attempt("/"+name), conflict)
	}
	for _, name := range []string{"x", "_x", "a b", "a/b", "a:b", "ä" + b.token} {
		b.wantKind(fmt.Sprintf("create %q", name), attempt(name), invalid)
	}
}

// Labels come back byte for byte, in inspect and in lists.
func containerLabels(b *bench) {
	odd := map[string]string{
		"io.kubernetes.pod/odd_key-1.x": "v",
		"empty":                         "",
		"unicode":                       "Zürich 東京 \U0001F433 \u2028",
		"control":                       "tab\t newline\n quote\" backslash\\ nul\x00",
		"large":                         strings.Repeat("0123456789abcdef", 4<<10),
		"json":                          `{"a":["<b>&",null]}`,
	}
	config := b.config(idle...)
	maps.Copy(config.Labels, odd)
	id := b.create(config, alone(), b.name("labels"))

	listed := b.list(container.ListOptions{All: true}, "label", label+"="+b.token)
	for key, value := range odd {
		if got := b.inspect(id).Config.Labels[key]; got != value {
			b.Errorf("inspect: label %s is %.80q, want %.80q", key, got, value)
		}
		if got := listed[0].Labels[key]; got != value {
			b.Errorf("list: label %s is %.80q, want %.80q", key, got, value)
		}
	}
}

// A container is found by its id, a beginning of it, and its name.
func containerLookup(b *bench) {
	id := b.create(b.config(idle...), alone(), b.name("lookup"))
	for _, by := range []string{id, id[:32], b.name("lookup"), "/" + b.name("lookup")} {
		b.equal("found by "+by, b.inspect(by).ID, id)
	}
}

// A list shows the running containers, or all, the newest first; filters of
// different keys, and different labels, must all match.
func containerList(b *bench) {
	config := b.config(idle...)
	config.Labels["kind"] = "sandbox"
	first := b.create(config, alone(), b.name("first"))
	second := b.running(alone(), "second", idle...)
	mine := label + "=" + b.token
	check := func(what string, options container.ListOptions, pairs []string, want ...string) {
		b.Helper()
		b.equal(what, ids(b.list(options, append(pairs, "label", mine)...)), want)
	}
	all := container.ListOptions{All: true}
	check("running", container.ListOptions{}, nil, second)
	check("all", all, nil, second, first)
	check("a label's key", all, []string{"label", "kind"}, first)
	check("a label's value", all, []string{"label", "kind=sandbox"}, first)
	check("another value", all, []string{"label", "kind=container"})
	check("status created", all, []string{"status", "created"}, first)
	check("status without all", container.ListOptions{}, []string{"status", "created"}, first)
	check("two statuses", all, []string{"status", "created", "status", "running"}, second, first)
	check("id", all, []string{"id", first}, first)
	check("name", all, []string{"name", "^" + b.name("first") + "$"}, first)

	listed := b.list(all, "id", second)[0]
	b.equal("names", listed.Names, []string{"/" + b.name("second")})
	b.equal("state", listed.State, "running")
	b.equal("image", listed.Image, b.image)
	b.equal("image id", listed.ImageID, b.image)
	b.equal("network mode", listed.HostConfig.NetworkMode, "none")
	b.equal("created", listed.Created, b.moment("created", b.inspect(second).Created).Unix())

	for _, pair := range [][2]string{{"status", "no-such-status"}, {"no-such-filter", "x"}} {
		_, err := b.ContainerList(b.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg(pair[0], pair[1]))})
		b.wantKind("list by "+pair[0], err, invalid)
	}
}

// list is ContainerList with filters in pairs.
func (b *bench) list(options container.ListOptions, pairs ...string) []container.Summary {
	b.Helper()
	options.Filters = args(pairs)
	list, err := b.ContainerList(b.Context(), options)
	b.must("list", err)
	return list
}

func args(pairs []string) filters.Args {
	all := filters.NewArgs()
	for i := 0; i < len(pairs); i += 2 {
		all.Add(pairs[i], pairs[i+1])
	}
	return all
}

func ids(list []container.Summary) []string {
	var all []string
	for _, c := range list {
		all = append(all, c.ID)
	}
	return all
}

// onContainer are all calls that name a container.
func (b *bench) onContainer(id string) map[string]error {
	ctx := b.Context()
	_, inspect := b.ContainerInspect(ctx, id)
	_, update := b.ContainerUpdate(ctx, id, container.UpdateConfig{Resources: container.Resources{CPUShares: 100}})
	_, exec := b.ContainerExecCreate(ctx, id, everything(idle))
	return map[string]error{
		"exec":    exec,
		"resize":  b.ContainerResize(ctx, id, container.ResizeOptions{Height: 24, Width: 80}),
		"inspect": inspect,
		"update":  update,
		"start":   b.ContainerStart(ctx, id, container.StartOptions{}),
		"stop":    b.ContainerStop(ctx, id, container.StopOptions{}),
		"remove":  b.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}),
	}
}

// A container that is not there is not found, and an empty id is no id.
func containerMissing(b *bench) {
	for call, err := range b.onContainer(strings.Repeat("0", 64)) {
		b.wantKind(call, err, notFound)
	}
	for call, err := range b.onContainer("") {
		b.wantKind(call+" without id", err, invalid)
	}
}

// What is wrong with a new container is told by the kind of the error, and
// nothing stays behind. A taken name and a missing image are told apart.
func containerCreateRefused(b *bench) {
	attempt := func(change func(*container.Config, *container.HostConfig)) error {
		config, host := b.config(idle...), alone()
		change(config, host)
		_, err := b.ContainerCreate(b.Context(), config, host, nil, nil, b.name("refused"))
		return err
	}
	b.wantKind("missing image", attempt(func(c *container.Config, _ *container.HostConfig) { c.Image = "enginetest/no-such-image:1" }), notFound)
	b.wantKind("missing image id", attempt(func(c *container.Config, _ *container.HostConfig) { c.Image = "sha256:" + strings.Repeat("0", 64) }), notFound)
	b.wantKind("no image name", attempt(func(c *container.Config, _ *container.HostConfig) { c.Image = "UPPER" }), invalid)
	b.wantKind("too little memory", attempt(func(_ *container.Config, h *container.HostConfig) { h.Memory = 1 << 20 }), invalid)
	b.equal("left behind", len(b.list(container.ListOptions{All: true}, "label", label+"="+b.token)), 0)
	b.wantKind("nothing wrong", attempt(func(*container.Config, *container.HostConfig) {}), none)
	b.wantKind("missing image and taken name", attempt(func(c *container.Config, _ *container.HostConfig) { c.Image = "enginetest/no-such-image:1" }), notFound)
	b.remove(b.name("refused"))
}

// A running container is removed by force only. A removed one is gone, and its
// name is free.
func containerRemove(b *bench) {
	id := b.running(alone(), "remove", idle...)
	b.wantKind("remove a running container", b.ContainerRemove(b.Context(), id, container.RemoveOptions{}), conflict)
	b.equal("still running", b.inspect(id).State.Running, true)
	b.must("force", b.ContainerRemove(b.Context(), id, container.RemoveOptions{Force: true, RemoveVolumes: true}))
	b.wantKind("remove again", b.ContainerRemove(b.Context(), id, container.RemoveOptions{Force: true}), notFound)
	b.equal("listed", len(b.list(container.ListOptions{All: true}, "label", label+"="+b.token)), 0)

	id = b.create(b.config(idle...), alone(), b.name("remove"))
	b.must("remove a new container", b.ContainerRemove(b.Context(), id, container.RemoveOptions{}))
}

// An update changes what is not zero. Memory alone may not exceed the limit of
// memory and swap, which is nobody's at first and twice the memory by default.
func containerUpdate(b *bench) {
	id := b.running(alone(), "update", idle...)
	update := func(r container.Resources) error {
		_, err := b.ContainerUpdate(b.Context(), id, container.UpdateConfig{Resources: r})
		return err
	}
	b.must("update", update(container.Resources{Memory: 64 << 20, MemorySwap: 64 << 20, CPUShares: 512}))
	b.must("update", update(container.Resources{CPUPeriod: 50000, CPUQuota: 25000}))
	held := b.inspect(id).HostConfig
	b.equal("memory", held.Memory, int64(64<<20))
	b.equal("memory and swap", held.MemorySwap, int64(64<<20))
	b.equal("shares", held.CPUShares, int64(512))
	b.equal("period", held.CPUPeriod, int64(50000))
	b.equal("quota", held.CPUQuota, int64(25000))

	b.wantKind("more memory than memory and swap", update(container.Resources{Memory: 128 << 20}), conflict)
	b.wantKind("too little memory", update(container.Resources{Memory: 1 << 20}), invalid)
	b.equal("memory after refusals", b.inspect(id).HostConfig.Memory, int64(64<<20))

	fresh := b.create(b.config(idle...), &container.HostConfig{NetworkMode: "none", Resources: container.Resources{Memory: 32 << 20}}, b.name("fresh"))
	b.equal("default of memory and swap", b.inspect(fresh).HostConfig.MemorySwap, int64(64<<20))
	_, err := b.ContainerUpdate(b.Context(), fresh, container.UpdateConfig{Resources: container.Resources{CPUShares: 256}})
	b.must("update a container that does not run", err)
	b.equal("shares", b.inspect(fresh).HostConfig.CPUShares, int64(256))
}
