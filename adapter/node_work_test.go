// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/adapter/cgroup"
	"github.com/dockershimd/dockershimd/adapter/staging"
	"github.com/dockershimd/dockershimd/internal/fakeengine"
)

// faults lets the n-th call to the node's fakes fail.
type faults struct {
	mu     sync.Mutex
	calls  int
	failAt int
}

var errNode = errors.New("fault of the node")

func (f *faults) strike() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls++; f.calls == f.failAt {
		return errNode
	}
	return nil
}

// fakeStaging remembers what is staged.
type fakeStaging struct {
	*faults
	mu     sync.Mutex
	staged map[string][]staging.Mount
}

func (s *fakeStaging) Stage(key string, mounts []staging.Mount) (paths []string, err error) {
	if err := s.strike(); err != nil {
		return nil, err // all or nothing, as the real one promises
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged[key] = mounts
	for n := range mounts {
		paths = append(paths, fmt.Sprintf("/staged/%s/%d", key, n))
	}
	return paths, nil
}

func (s *fakeStaging) Remove(key string) error {
	if err := s.strike(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.staged, key)
	return nil
}

func (s *fakeStaging) Retain(known func(string) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.staged, func(key string, _ []staging.Mount) bool { return !known(key) })
	return nil
}

func (s *fakeStaging) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.staged))
}

// fakeCgroups has one group, whosever process is asked about.
type fakeCgroups struct {
	*faults
	mu    sync.Mutex
	set   cgroup.Limits
	kept  map[string]cgroup.Limits
	inUse uint64
	used  uint64 // of processors, in nanoseconds
	gone  bool   // there is no such process
	// noHugetlb: the controller cannot be enabled for the group.
	noHugetlb bool
}

func newFakeCgroups(f *faults) *fakeCgroups {
	return &fakeCgroups{faults: f, kept: map[string]cgroup.Limits{}}
}

func (*fakeCgroups) Abilities() (hugePages, unified []string, err error) {
	return []string{"2MB"}, []string{"memory"}, nil
}

func (c *fakeCgroups) Apply(_ context.Context, _ int, l cgroup.Limits, _ string) (before cgroup.Limits, err error) {
	if err := c.strike(); err != nil {
		return before, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
		return before, errdefs.ErrNotFound
	case c.noHugetlb && len(l.HugePages) > 0:
		return before, errdefs.ErrFailedPrecondition
	}
	before, c.set = c.set, l.Over(c.set)
	return before, nil
}

func (c *fakeCgroups) Limits(int, []string) (*cri.LinuxContainerResources, error) {
	return nil, errdefs.ErrNotFound // the engine's numbers serve
}

func (c *fakeCgroups) Usage(int) (*cgroup.Usage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil, errdefs.ErrNotFound
	}
	c.used += 1000
	return &cgroup.Usage{
		CPU:    &cri.CpuUsage{Timestamp: 1, UsageCoreNanoSeconds: &cri.UInt64Value{Value: c.used}},
		Memory: &cri.MemoryUsage{Timestamp: 1, UsageBytes: &cri.UInt64Value{Value: 5}},
	}, nil
}

func (c *fakeCgroups) MemoryInUse(int) (uint64, error) { return c.inUse, nil }

func (c *fakeCgroups) Keep(id string, l cgroup.Limits) error {
	if err := c.strike(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept[id] = l
	return nil
}

func (c *fakeCgroups) Kept(id string) (cgroup.Limits, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept[id], nil
}

func (c *fakeCgroups) Forget(id string) error {
	if err := c.strike(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.kept, id)
	return nil
}

func (c *fakeCgroups) Retain(known func(string) bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.kept, func(id string, _ cgroup.Limits) bool { return !known(id) })
	return nil
}

// now are the limits that are set.
func (c *fakeCgroups) now() cgroup.Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set
}

// demanding is a container that needs all that the node can do for it.
func demanding(name string) *cri.ContainerConfig {
	c := containerConfig(name)
	c.Mounts = []*cri.Mount{{HostPath: "/", ContainerPath: "/host", MountOptions: []string{"noexec"}}}
	c.Linux = &cri.LinuxContainerConfig{
		Resources: &cri.LinuxContainerResources{
			HugepageLimits: []*cri.HugepageLimit{{PageSize: "2MB", Limit: 0}},
			Unified:        map[string]string{"memory.high": "max"},
		},
		SecurityContext: &cri.LinuxContainerSecurityContext{
			RunAsUsername: "app", SupplementalGroupsPolicy: cri.SupplementalGroupsPolicy_Strict,
		},
	}
	return c
}

// passwd is in the image of the tests' containers.
var passwd = map[string]string{
	"/etc/passwd": "root:x:0:0::/:\napp:x:1000:1001::/:\n",
	"/etc/group":  "app:x:1001:\nextra:x:50000:app\n",
}

func TestContainerWithNodeWork(t *testing.T) {
	r := newRig(t)
	_, id := r.runContainer(podConfig("web"), demanding("app"))
	c, err := r.index.container(id)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.inspect.Config.User; got != "1000:1001" {
		t.Errorf("user %q", got)
	}
	keys := r.stages.keys()
	if len(keys) != 1 || !r.stages.staged[keys[0]][0].NoExec {
		t.Fatalf("staged: %v", r.stages.staged)
	}
	if source := c.inspect.HostConfig.Mounts[0].Source; !strings.Contains(source, keys[0]) {
		t.Errorf("the engine binds %s", source)
	}
	if m := c.status.Mounts[0]; m.HostPath != "/" || !slices.Equal(m.MountOptions, []string{"noexec"}) {
		t.Errorf("status says %v", m)
	}
	want := cgroup.Limits{HugePages: map[string]uint64{"2MB": 0}, Unified: map[string]string{"memory.high": "max"}}
	if fmt.Sprint(r.cg.now()) != fmt.Sprint(want) {
		t.Errorf("limits %v, want %v", r.cg.now(), want)
	}
	if _, err := r.RemoveContainer(t.Context(), &cri.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	if len(r.stages.keys()) > 0 || r.stagingNow.has(keys[0]) {
		t.Errorf("still staged: %v", r.stages.keys())
	}
}

// A daemon that is killed leaves things half done: the next one finishes them.
func TestNodeWorkAfterRestart(t *testing.T) {
	r := newRig(t)
	_, id := r.runContainer(podConfig("web"), demanding("app"))
	wanted := fmt.Sprint(r.cg.now())
	next := newRigOn(t, r.engine, r.net)
	if fmt.Sprint(next.cg.now()) != wanted {
		t.Errorf("limits %v, want %s", next.cg.now(), wanted)
	}
	key := r.stages.keys()[0]
	next.stages.staged = map[string][]staging.Mount{key: nil, "left": nil, "held": nil}
	next.cg.kept = map[string]cgroup.Limits{id: {}, "left": {}}
	release := next.stagingNow.hold("held")
	if err := next.compare(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := next.stages.keys(); !slices.Equal(got, slices.Sorted(slices.Values([]string{key, "held"}))) {
		t.Errorf("staged after the comparison: %v", got)
	}
	if len(next.cg.kept) != 1 {
		t.Errorf("kept after the comparison: %v", next.cg.kept)
	}
	release()
}

// A container whose limits cannot be set must not run.
func TestLimitsThatCannotBeSet(t *testing.T) {
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	id := r.createContainer(pod, podConfig("web"), demanding("app"))
	r.cg.failAt = r.cg.calls + 1
	_, err := r.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: id})
	if !errors.Is(err, errNode) {
		t.Errorf("error %v", err)
	}
	if s := r.containerStatus(id); s.State != cri.ContainerState_CONTAINER_EXITED {
		t.Errorf("state %v", s.State)
	}
}

// One that has ended at once needs none.
func TestLimitsOfProcessThatIsGone(t *testing.T) {
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	id := r.createContainer(pod, podConfig("web"), demanding("app"))
	r.cg.gone = true
	r.startContainer(id)
}

func update(id string, l *cri.LinuxContainerResources) *cri.UpdateContainerResourcesRequest {
	return &cri.UpdateContainerResourcesRequest{ContainerId: id, Linux: l}
}

// An update is done as a whole or not at all, wherever it fails.
func TestUpdateIsAllOrNothing(t *testing.T) {
	for failAt := 1; ; failAt++ {
		r := newRig(t)
		_, id := r.runContainer(podConfig("web"), demanding("app"))
		first := &cri.LinuxContainerResources{MemoryLimitInBytes: 64 << 20, Unified: map[string]string{"memory.high": "1"}}
		if _, err := r.UpdateContainerResources(t.Context(), update(id, first)); err != nil {
			t.Fatal(err)
		}
		before := fmt.Sprint(r.cg.now(), r.cg.kept, r.containerStatus(id).Resources)
		calls := r.cg.calls
		r.cg.failAt = calls + failAt
		second := &cri.LinuxContainerResources{MemoryLimitInBytes: 128 << 20, Unified: map[string]string{"memory.high": "2"}}
		_, err := r.UpdateContainerResources(t.Context(), update(id, second))
		if err == nil {
			break // there are not that many calls
		}
		if now := fmt.Sprint(r.cg.now(), r.cg.kept, r.containerStatus(id).Resources); now != before {
			t.Errorf("fault %d left %s, before it was %s", failAt, now, before)
		}
	}
	r := newRig(t)
	_, id := r.runContainer(podConfig("web"), demanding("app"))
	before := fmt.Sprint(r.cg.now())
	r.engine.ResetCalls()
	r.engine.FailNth(1, fakeengine.Before, errFault)
	if _, err := r.UpdateContainerResources(t.Context(), update(id, &cri.LinuxContainerResources{Unified: map[string]string{"memory.high": "2"}})); err == nil {
		t.Error("the engine's failure is not told")
	}
	if now := fmt.Sprint(r.cg.now()); now != before {
		t.Errorf("the engine's failure left %s, before it was %s", now, before)
	}
}

// On cgroup version 2 any update of the engine's writes some of the files anew.
func TestUpdateKeepsLimitsOfCgroup(t *testing.T) {
	r := newRig(t)
	_, id := r.runContainer(podConfig("web"), demanding("app"))
	wanted := fmt.Sprint(r.cg.now())
	r.cg.set = cgroup.Limits{}
	if _, err := r.UpdateContainerResources(t.Context(), update(id, &cri.LinuxContainerResources{CpuShares: 77})); err != nil {
		t.Fatal(err)
	}
	if now := fmt.Sprint(r.cg.now()); now != wanted {
		t.Errorf("limits are %s, want %s", now, wanted)
	}
}

// Kubelets forbid huge pages with each update too, also where the node cannot.
func TestNoHugePagesWithoutController(t *testing.T) {
	r := newRig(t)
	r.cg.noHugetlb = true
	_, id := r.runContainer(podConfig("web"), demanding("app"))
	none := &cri.LinuxContainerResources{CpuShares: 77, HugepageLimits: []*cri.HugepageLimit{{PageSize: "2MB"}}}
	if _, err := r.UpdateContainerResources(t.Context(), update(id, none)); err != nil {
		t.Errorf("none: %v", err)
	}
	some := &cri.LinuxContainerResources{HugepageLimits: []*cri.HugepageLimit{{PageSize: "2MB", Limit: 2 << 20}}}
	_, err := r.UpdateContainerResources(t.Context(), update(id, some))
	wantKind(t, err, errdefs.IsFailedPrecondition)
}

func TestMemoryBelowUse(t *testing.T) {
	r := newRig(t)
	_, id := r.runContainer(podConfig("web"), containerConfig("app"))
	r.cg.inUse = 65 << 20
	_, err := r.UpdateContainerResources(t.Context(), update(id, &cri.LinuxContainerResources{MemoryLimitInBytes: 64 << 20}))
	wantKind(t, err, errdefs.IsFailedPrecondition)
	for _, number := range []string{"67108864", "68157440"} {
		if err == nil || !strings.Contains(err.Error(), number) {
			t.Errorf("%v does not tell %s", err, number)
		}
	}
	if _, err := r.UpdateContainerResources(t.Context(), update(id, &cri.LinuxContainerResources{MemoryLimitInBytes: 66 << 20})); err != nil {
		t.Error(err)
	}
}

func TestUpdatePodSandboxResources(t *testing.T) {
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	if _, err := r.UpdatePodSandboxResources(t.Context(), &cri.UpdatePodSandboxResourcesRequest{
		PodSandboxId: pod, Resources: &cri.LinuxContainerResources{CpuShares: 77},
	}); err != nil {
		t.Fatal(err)
	}
	out, err := r.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: pod, Verbose: true})
	if err != nil || !strings.Contains(out.Info["info"], `"cpu_shares":77`) {
		t.Errorf("%v, %v", out, err)
	}
	_, err = r.UpdatePodSandboxResources(t.Context(), &cri.UpdatePodSandboxResourcesRequest{PodSandboxId: "absent"})
	wantKind(t, err, errdefs.IsNotFound)
}

// With a primary group of its own, a user keeps the groups of the image, which is
// looked into once.
func TestGroupsOfImage(t *testing.T) {
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	for _, name := range []string{"one", "two"} {
		config := containerConfig(name)
		config.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
			RunAsUser: &cri.Int64Value{Value: 1000}, RunAsGroup: &cri.Int64Value{Value: 77}, SupplementalGroups: []int64{5},
		}}
		id := r.createContainer(pod, podConfig("web"), config)
		c, err := r.engine.ContainerInspect(t.Context(), id)
		if err != nil || c.Config.User != "1000:77" || !slices.Equal(c.HostConfig.GroupAdd, []string{"5", "50000"}) {
			t.Errorf("user %q, groups %v, %v", c.Config.User, c.HostConfig.GroupAdd, err)
		}
	}
	if n := r.engine.Count("CopyFromContainer"); n != 2 {
		t.Errorf("read %d files", n)
	}
	config := containerConfig("three")
	config.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{RunAsUsername: "nobody-of-that-name"}}
	_, err := r.CreateContainer(t.Context(), &cri.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: podConfig("web")})
	wantKind(t, err, errdefs.IsInvalidArgument)
}

// The strict policy needs to look into the image only where nothing else tells.
func TestStrictGroups(t *testing.T) {
	for _, test := range []struct {
		edit func(*cri.LinuxContainerSecurityContext)
		want string
		asks bool
	}{
		{func(s *cri.LinuxContainerSecurityContext) {}, "1000:1000", false}, // the image's own
		{func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = &cri.Int64Value{Value: 7} }, "7:0", true},
		{func(s *cri.LinuxContainerSecurityContext) {
			s.RunAsUser, s.RunAsGroup = &cri.Int64Value{Value: 7}, &cri.Int64Value{Value: 8}
		}, "7:8", false},
		{func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = &cri.Int64Value{Value: 1000} }, "1000:1001", true},
		{func(s *cri.LinuxContainerSecurityContext) { s.RunAsUsername = "app" }, "1000:1001", true},
	} {
		r := newRig(t)
		pod := r.runPod(podConfig("web"))
		config := containerConfig("app")
		sc := &cri.LinuxContainerSecurityContext{SupplementalGroupsPolicy: cri.SupplementalGroupsPolicy_Strict}
		test.edit(sc)
		config.Linux = &cri.LinuxContainerConfig{SecurityContext: sc}
		id := r.createContainer(pod, podConfig("web"), config)
		c, err := r.engine.ContainerInspect(t.Context(), id)
		if err != nil || c.Config.User != test.want {
			t.Errorf("%v: user %q, want %q: %v", sc, c.Config.User, test.want, err)
		}
		if asked := r.engine.Count("CopyFromContainer") > 0; asked != test.asks {
			t.Errorf("%v: looked into the image: %t", sc, asked)
		}
		list, err := r.engine.ContainerList(t.Context(), container.ListOptions{All: true})
		if err != nil || len(list) != 2 {
			t.Errorf("%d containers, %v", len(list), err)
		}
	}
	r := newRig(t)
	pod := r.runPod(podConfig("web"))
	config := demanding("app")
	config.Linux.SecurityContext.RunAsUsername = "nobody-of-that-name"
	_, err := r.CreateContainer(t.Context(), &cri.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: podConfig("web")})
	wantKind(t, err, errdefs.IsInvalidArgument)
}
