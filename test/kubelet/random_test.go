// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// How many random configurations there are.
const (
	randomPods       = 10
	randomContainers = 200
	startEvery       = 10
	randomAtOnce     = 4
)

// seed is the environment's, or another one each time.
func (k *kubelet) seed() uint64 {
	k.Helper()
	text := os.Getenv("SEED")
	if text == "" {
		return uint64(time.Now().UnixNano())
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	k.must("read SEED", err)
	return seed
}

// TestRandomConfigs creates containers of random configurations, compares the
// status and the list with what was asked for, and some of them with their
// process.
func TestRandomConfigs(t *testing.T) {
	k := newKubelet(t)
	seed := k.seed()
	k.Logf("SEED=%d repeats this run", seed)
	g := k.generator(seed)
	pods := make([]*pod, randomPods)
	logs := k.TempDir()
	for i := range pods {
		pods[i] = &pod{kubelet: k, config: g.pod(logs, i)}
	}
	configs := make([]*cri.ContainerConfig, randomContainers)
	for i := range configs {
		configs[i] = g.container(pods[i%randomPods].config, i)
	}
	k.must("run the pods", each(pods, func(_ int, p *pod) error { return p.runRandom() }))
	k.Cleanup(func() {
		k.must("remove the pods", each(pods, func(_ int, p *pod) error { return k.removePod(context.Background(), p.id) }))
	})
	created := make([]*container, randomContainers)
	k.check("create", each(configs, func(i int, config *cri.ContainerConfig) (err error) {
		created[i], err = pods[i%randomPods].createRandom(config)
		return err
	}))
	k.wantListed(created)
	k.check("start", each(created, func(i int, c *container) error {
		if c == nil || i%startEvery != 0 {
			return nil
		}
		return c.startRandom()
	}))
	k.check("remove", each(created, func(_ int, c *container) error {
		if c == nil {
			return nil
		}
		return c.remove()
	}))
	for _, p := range pods {
		if left := k.listContainers(&cri.ContainerFilter{PodSandboxId: p.id}); len(left) > 0 {
			k.Errorf("left in the list: %v", left)
		}
	}
}

// generator makes the folders that the volumes are of.
func (k *kubelet) generator(seed uint64) *generator {
	k.Helper()
	features, handler := k.features()
	dir := k.folder()
	k.mount("tmpfs", dir, "")
	k.must("share it", unix.Mount("", dir, "", unix.MS_SHARED, ""))
	for _, name := range []string{"plain", "with space", "co:lon", "com,ma", "ünï", `back\slash`} {
		k.must("make a folder", os.Mkdir(filepath.Join(dir, name), 0o777))
	}
	return &generator{rand.New(rand.NewPCG(seed, seed)), dir, features, handler, suite.registry != nil, k.knowsStopSignals()}
}

func (k *kubelet) knowsStopSignals() bool {
	k.Helper()
	const asked = cri.Signal_SIGNAL_SIGUSR2
	c := k.pod().create(idle, func(c *cri.ContainerConfig) { c.StopSignal = asked })
	return c.status().GetStopSignal() == asked
}

// each does a step for every one of a list, some at once, and collects what
// went wrong.
func each[T any](list []T, step func(i int, of T) error) error {
	problems := make([]error, len(list))
	var all errgroup.Group
	all.SetLimit(randomAtOnce)
	for i, of := range list {
		all.Go(func() error {
			if err := step(i, of); err != nil {
				problems[i] = fmt.Errorf("%d: %w", i, err)
			}
			return nil
		})
	}
	_ = all.Wait() // the problems are in problems
	return errors.Join(problems...)
}

// check reports what went wrong and goes on with the rest.
func (k *kubelet) check(what string, err error) {
	k.Helper()
	if err != nil {
		k.Errorf("%s: %v", what, err)
	}
}

// runRandom runs the sandbox and compares its status.
func (p *pod) runRandom() error {
	if err := os.MkdirAll(p.config.GetLogDirectory(), 0o755); err != nil {
		return err
	}
	r, err := p.runtime.RunPodSandbox(context.Background(), &cri.RunPodSandboxRequest{Config: p.config})
	if err != nil {
		return fmt.Errorf("%w\nof %v", err, p.config)
	}
	p.id = r.GetPodSandboxId()
	status, err := p.runtime.PodSandboxStatus(context.Background(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
	if err != nil {
		return err
	}
	return samePod(p.config, status.GetStatus())
}

// createRandom creates a container and compares its status.
func (p *pod) createRandom(config *cri.ContainerConfig) (*container, error) {
	id, err := p.tryCreate(config)
	if err != nil {
		return nil, fmt.Errorf("%w\nof %v", err, config)
	}
	c := &container{p, id, config}
	status, err := c.tryStatus()
	if err != nil {
		return c, err
	}
	return c, errors.Join(sameContainer(config, status), sameText("state", cri.ContainerState_CONTAINER_CREATED, status.GetState()))
}

func (c *container) tryStatus() (*cri.ContainerStatus, error) {
	r, err := c.runtime.ContainerStatus(context.Background(), &cri.ContainerStatusRequest{ContainerId: c.id})
	return r.GetStatus(), err
}

// wantListed compares the list with what was asked for.
func (k *kubelet) wantListed(created []*container) {
	k.Helper()
	listed := map[string]*cri.Container{}
	for _, c := range k.listContainers(nil) {
		listed[c.GetId()] = c
	}
	for i, c := range created {
		if c == nil {
			continue
		}
		got := listed[c.id]
		k.check(fmt.Sprintf("list, %d", i), errors.Join(
			sameText("pod", c.pod.id, got.GetPodSandboxId()),
			sameMessage("metadata", c.config.GetMetadata(), got.GetMetadata()),
			sameMap("labels", c.config.GetLabels(), got.GetLabels()),
			sameMap("annotations", c.config.GetAnnotations(), got.GetAnnotations()),
			sameText("state", cri.ContainerState_CONTAINER_CREATED, got.GetState()),
		))
	}
}

// startRandom starts the container, compares its process, and stops it.
func (c *container) startRandom() error {
	if err := c.start(); err != nil {
		return fmt.Errorf("%w\nof %v", err, c.config)
	}
	status, err := c.tryStatus()
	if err != nil {
		return err
	}
	problems := errors.Join(
		sameContainer(c.config, status),
		sameText("state", cri.ContainerState_CONTAINER_RUNNING, status.GetState()),
		c.sameProcess(),
	)
	if err := c.stop(0); err != nil {
		return errors.Join(problems, err)
	}
	if status, err = c.tryStatus(); err != nil {
		return errors.Join(problems, err)
	}
	return errors.Join(problems, sameText("state", cri.ContainerState_CONTAINER_EXITED, status.GetState()))
}

// sameProcess compares the process with what was asked for.
func (c *container) sameProcess() error {
	var dir string
	if !soon(func() bool {
		dir = processWith(fmt.Sprintf("%s=%s", c.config.GetEnvs()[0].GetKey(), c.config.GetEnvs()[0].GetValue()))
		return dir != ""
	}) {
		return errors.New("its process is not found on the node")
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
	errs := []error{err, sameText("command", strings.Join(slices.Concat(c.config.GetCommand(), c.config.GetArgs()), "\x00")+"\x00", read("cmdline"))}
	if want := c.config.GetWorkingDir(); want != "" {
		errs = append(errs, sameText("working directory", path.Clean(want), cwd))
	}
	environment := strings.Split(read("environ"), "\x00")
	for _, e := range c.config.GetEnvs() {
		if want := e.GetKey() + "=" + string(e.GetValue()); !slices.Contains(environment, want) {
			errs = append(errs, fmt.Errorf("no %.100q among the variables", want))
		}
	}
	status, security := read("status"), c.config.GetLinux().GetSecurityContext()
	if user := security.GetRunAsUser(); user != nil {
		errs = append(errs, sameText("user", user.GetValue(), strings.Fields(field(status, "Uid"))[0]))
	}
	if group := security.GetRunAsGroup(); group != nil {
		errs = append(errs, sameText("group", group.GetValue(), strings.Fields(field(status, "Gid"))[0]))
	}
	for _, group := range security.GetSupplementalGroups() {
		if !slices.Contains(strings.Fields(field(status, "Groups")), fmt.Sprint(group)) {
			errs = append(errs, fmt.Errorf("groups are %s, without %d", field(status, "Groups"), group))
		}
	}
	errs = append(errs, sameText("no new privileges", map[bool]string{true: "1", false: "0"}[security.GetNoNewPrivs()], field(status, "NoNewPrivs")))
	for _, m := range c.config.GetMounts() {
		errs = append(errs, sameMounted(m, read("mountinfo")))
	}
	return errors.Join(errs...)
}

// processWith is the folder in /proc of the first process with a variable.
func processWith(variable string) string {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(text, []byte(variable+"\x00")) && !bytes.Contains(text, []byte("\x00"+variable+"\x00")) {
			continue
		}
		// What starts a container has its variables for a moment too.
		if name, err := os.ReadFile(filepath.Join(filepath.Dir(file), "comm")); err == nil && string(name) == "sh\n" {
			return filepath.Dir(file)
		}
	}
	return ""
}

// sameMounted looks for a mount and its options. mountinfo writes spaces and
// backslashes in octal.
func sameMounted(asked *cri.Mount, mountinfo string) error {
	point := strings.NewReplacer(`\`, `\134`, " ", `\040`).Replace(asked.GetContainerPath())
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); fields[4] == point {
			options := strings.Split(fields[5], ",")
			want := append(slices.Clone(asked.GetMountOptions()), map[bool]string{true: "ro", false: "rw"}[asked.GetReadonly()])
			for _, o := range want {
				if !slices.Contains(options, o) {
					return fmt.Errorf("the mount at %s has %q, want %q", point, options, want)
				}
			}
			return nil
		}
	}
	return fmt.Errorf("nothing is mounted at %s", point)
}
