// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/translate"
)

// index is a copy of what the engine says exists. It is never the truth:
// dropping it costs one listing. Its records are replaced, never changed, so
// readers keep what they were given.
type index struct {
	// digests are the repository digests of an image, for image references.
	digests func(imageID string) []string

	mu         sync.RWMutex
	sandboxes  map[string]*sandbox
	containers map[string]*workload
	// removed tells when an object was last seen to be gone, so that an older
	// answer of the engine cannot bring it back.
	removed map[string]time.Time
	// expected are the names of containers that an RPC is creating: it will put
	// them here itself, so events about their creation are no news.
	expected map[string]bool
	changed  chan struct{} // closed and replaced at each change
}

// seen is an answer of the engine about one container, and when it was asked:
// whatever happened before is in it.
type seen struct {
	inspect container.InspectResponse
	at      time.Time
}

// sandbox is a pause container of ours.
type sandbox struct {
	seen
	// addresses are the pod's, while network holds it.
	addresses []string
	// resources are what the pod's cgroup was last said to have; nil if nobody said.
	resources *podResources
	status    *cri.PodSandboxStatus
	listed    *cri.PodSandbox
}

// podResources are the pod's own, which the kubelet tells when it changes them.
type podResources struct {
	Overhead  *cri.LinuxContainerResources `json:"overhead,omitempty"`
	Resources *cri.LinuxContainerResources `json:"resources,omitempty"`
}

// workload is any other container of ours.
type workload struct {
	seen
	sandboxID string
	// user is whom its process was started as; nil until that is known.
	user   *cri.ContainerUser
	status *cri.ContainerStatus
	listed *cri.Container
}

func newIndex(digests func(string) []string) *index {
	return &index{
		digests:    digests,
		sandboxes:  map[string]*sandbox{},
		containers: map[string]*workload{},
		removed:    map[string]time.Time{},
		expected:   map[string]bool{},
		changed:    make(chan struct{}),
	}
}

// slim drops what nobody reads from an answer that will be kept.
func slim(c container.InspectResponse) container.InspectResponse {
	base := *c.ContainerJSONBase
	base.Path, base.Args, base.HostnamePath, base.HostsPath = "", nil, "", ""
	base.GraphDriver.Data, base.ExecIDs = nil, nil
	config := *c.Config
	config.Env, config.Cmd, config.Entrypoint, config.Volumes = nil, nil, nil, nil
	c.ContainerJSONBase, c.Config, c.NetworkSettings, c.ImageManifestDescriptor = &base, &config, nil, nil
	return c
}

// put takes over an answer of the engine, unless a newer one is here already.
// A container that is not ours is passed over. addresses are looked up only for
// a sandbox that is new here.
func (x *index) put(c container.InspectResponse, at time.Time, addresses func(container.InspectResponse) []string) {
	labels := c.Config.Labels
	if !translate.IsSandbox(labels) && !translate.IsContainer(labels) {
		return
	}
	next := seen{slim(c), at}
	x.mu.Lock()
	defer x.mu.Unlock()
	if gone, ok := x.removed[c.ID]; ok && !at.After(gone) {
		return
	}
	if translate.IsSandbox(labels) {
		x.putSandbox(next, addresses)
	} else {
		x.putWorkload(next)
	}
}

func (x *index) putSandbox(next seen, addresses func(container.InspectResponse) []string) {
	old := x.sandboxes[next.inspect.ID]
	switch {
	case old == nil:
		x.setSandbox(next, addresses(next.inspect), nil)
	case next.at.Before(old.at):
	case restarted(old.inspect, next.inspect):
		// Its network namespace is another one now, which nobody attached.
		x.setSandbox(next, nil, old.resources)
	default:
		x.setSandbox(next, old.addresses, old.resources)
	}
}

// restarted tells whether a process that ran, or had run, was started again.
func restarted(old, next container.InspectResponse) bool {
	return translate.Running(next) && old.State.Status != container.StateCreated && old.State.StartedAt != next.State.StartedAt
}

// setSandbox expects the lock to be held.
func (x *index) setSandbox(what seen, addresses []string, resources *podResources) {
	status := translate.SandboxStatus(what.inspect, addresses)
	x.sandboxes[what.inspect.ID] = &sandbox{
		seen: what, addresses: addresses, resources: resources, status: status, listed: translate.ListedSandbox(status),
	}
	x.announce()
}

// setResources notes what the pod's cgroup is said to have.
func (x *index) setResources(id string, resources *podResources) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.sandboxes[id]; s != nil {
		x.setSandbox(s.seen, s.addresses, resources)
	}
}

func (x *index) putWorkload(next seen) {
	old := x.containers[next.inspect.ID]
	if old != nil && next.at.Before(old.at) {
		return
	}
	if old == nil {
		x.setWorkload(next, nil)
		return
	}
	// What an oom event told of this run stays true until the engine says so too.
	if old.inspect.State.OOMKilled && old.inspect.State.StartedAt == next.inspect.State.StartedAt {
		state := *next.inspect.State
		state.OOMKilled = true
		next.inspect.State = &state
	}
	// Of a container that has ended, nobody else knows it any more.
	x.setWorkload(next, old.user)
}

// setWorkload expects the lock to be held.
func (x *index) setWorkload(what seen, user *cri.ContainerUser) {
	id := translate.SandboxID(what.inspect.Config.Labels)
	status := translate.ContainerStatus(what.inspect, x.digests(what.inspect.Image))
	if user != nil {
		status.User = user
	}
	x.containers[what.inspect.ID] = &workload{
		seen: what, sandboxID: id, user: user, status: status, listed: translate.ListedContainer(status, id),
	}
	x.announce()
}

// identify notes whom the process of a container was started as.
func (x *index) identify(id string, user *cri.ContainerUser) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.containers[id]; c != nil {
		x.setWorkload(c.seen, user)
	}
}

// nodeWork is for whom something may have been made on the node: the keys of
// staged mounts, and the ids of containers.
func (x *index) nodeWork() (keys, ids map[string]bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	keys, ids = map[string]bool{}, map[string]bool{}
	for id, c := range x.containers {
		keys[translate.StagingKey(c.inspect.Config.Labels)], ids[id] = true, true
	}
	return keys, ids
}

// announce wakes whoever waits for a change. The lock is held.
func (x *index) announce() {
	close(x.changed)
	x.changed = make(chan struct{})
}

// setAddresses notes where network has attached a sandbox, or with nil that it
// no longer is.
func (x *index) setAddresses(id string, addresses []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.sandboxes[id]; s != nil {
		x.setSandbox(s.seen, addresses, s.resources)
	}
}

// started notes that a start succeeded, until the engine's own word comes by an
// event. A container that is known to have gone further is left alone.
func (x *index) started(id string, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.containers[id]
	if c == nil || c.inspect.State.Status != container.StateCreated {
		return
	}
	next := c.seen
	base := *next.inspect.ContainerJSONBase
	base.State = &container.State{
		Status: container.StateRunning, Running: true,
		StartedAt: at.UTC().Format(time.RFC3339Nano),
	}
	next.inspect.ContainerJSONBase = &base
	x.setWorkload(next, c.user)
}

// oomKilled notes that the kernel killed a process of the container for want of
// memory. The engine's own flag may come late.
func (x *index) oomKilled(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.containers[id]
	if c == nil || c.inspect.State.OOMKilled {
		return
	}
	next := c.seen
	base, state := *next.inspect.ContainerJSONBase, *next.inspect.State
	state.OOMKilled = true
	base.State = &state
	next.inspect.ContainerJSONBase = &base
	x.setWorkload(next, c.user)
}

// remove forgets an object that was seen to be gone.
func (x *index) remove(id string, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.sandboxes, id)
	delete(x.containers, id)
	x.removed[id] = at
	x.announce()
}

// retain forgets what a listing asked for at that time did not show. It returns
// the ids of sandboxes that are gone.
func (x *index) retain(listed map[string]bool, at time.Time) (gone []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, s := range x.sandboxes {
		if !listed[id] && s.at.Before(at) {
			delete(x.sandboxes, id)
			gone = append(gone, id)
		}
	}
	for id, c := range x.containers {
		if !listed[id] && c.at.Before(at) {
			delete(x.containers, id)
		}
	}
	for id, t := range x.removed {
		if t.Before(at) {
			delete(x.removed, id)
		}
	}
	x.announce()
	return gone
}

// expect announces that the caller creates a container of this name and will
// put it here; done ends that.
func (x *index) expect(name string) (done func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expected[name] = true
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.expected, name)
	}
}

func (x *index) expects(name string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.expected[name]
}

// last is the engine's newest answer about an object that is kept here.
func (x *index) last(id string) (seen, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if s := x.sandboxes[id]; s != nil {
		return s.seen, true
	}
	if c := x.containers[id]; c != nil {
		return c.seen, true
	}
	return seen{}, false
}

// await waits until ok holds, which is asked at each change, or ctx ends.
func (x *index) await(ctx context.Context, ok func() bool) error {
	for {
		x.mu.RLock()
		changed := x.changed
		x.mu.RUnlock()
		if ok() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sandbox finds a sandbox by its id or an unambiguous beginning of it.
func (x *index) sandbox(id string) (*sandbox, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return find(x.sandboxes, "sandbox", id)
}

// container finds a container by its id or an unambiguous beginning of it.
func (x *index) container(id string) (*workload, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return find(x.containers, "container", id)
}

func find[T any](all map[string]*T, noun, id string) (*T, error) {
	if id == "" {
		return nil, fmt.Errorf("%s id: is required: %w", noun, errdefs.ErrInvalidArgument)
	}
	if o := all[id]; o != nil {
		return o, nil
	}
	var found *T
	for full, o := range all {
		if !strings.HasPrefix(full, id) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%s id %q is ambiguous; give more of it: %w", noun, id, errdefs.ErrInvalidArgument)
		}
		found = o
	}
	if found == nil {
		return nil, fmt.Errorf("no %s with id %q: %w", noun, id, errdefs.ErrNotFound)
	}
	return found, nil
}

// sandboxNamed is the sandbox that an earlier request of this Docker name made, or nil.
func (x *index) sandboxNamed(name string) *sandbox {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, s := range x.sandboxes {
		if s.name() == name {
			return s
		}
	}
	return nil
}

// containersOf are the containers of a sandbox, newest first.
func (x *index) containersOf(sandboxID string) []*workload {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []*workload
	for _, c := range x.containers {
		if c.sandboxID == sandboxID {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *workload) int { return newestFirst(a.listed, b.listed) })
	return out
}

// dated is an entry of a list of CRI's.
type dated interface {
	GetCreatedAt() int64
	GetId() string
}

// newestFirst orders what lists show; the id keeps the order steady where times
// are the same.
func newestFirst[E dated](a, b E) int {
	return cmp.Or(cmp.Compare(b.GetCreatedAt(), a.GetCreatedAt()), cmp.Compare(a.GetId(), b.GetId()))
}

// listSandboxes returns what the filter lets through, newest first.
func (x *index) listSandboxes(f *cri.PodSandboxFilter) []*cri.PodSandbox {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return listed(x.sandboxes, func(s *sandbox) *cri.PodSandbox { return s.listed },
		func(s *cri.PodSandbox) bool { return translate.MatchSandbox(f, s) })
}

// listContainers returns what the filter lets through, newest first.
func (x *index) listContainers(f *cri.ContainerFilter) []*cri.Container {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return listed(x.containers, func(c *workload) *cri.Container { return c.listed },
		func(c *cri.Container) bool { return translate.MatchContainer(f, c) })
}

// listed are the entries that match, newest first; never nil.
func listed[O any, E dated](all map[string]*O, entry func(*O) E, match func(E) bool) []E {
	out := []E{}
	for _, o := range all {
		if e := entry(o); match(e) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, newestFirst[E])
	return out
}

// sandboxIDs are the ids of all sandboxes.
func (x *index) sandboxIDs() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	ids := make([]string, 0, len(x.sandboxes))
	for id := range x.sandboxes {
		ids = append(ids, id)
	}
	return ids
}

// attached are the ids of the sandboxes that have addresses.
func (x *index) attached() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var ids []string
	for id, s := range x.sandboxes {
		if len(s.addresses) > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// running are the containers that run.
func (x *index) running() (out []*workload) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, c := range x.containers {
		if c.running() {
			out = append(out, c)
		}
	}
	return out
}

// sandboxImages are the ids of the images that sandboxes run.
func (x *index) sandboxImages() map[string]bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	ids := map[string]bool{}
	for _, s := range x.sandboxes {
		ids[s.inspect.Image] = true
	}
	return ids
}

// name is a container's Docker name, without the slash that the engine puts
// before it.
func (s seen) name() string { return strings.TrimPrefix(s.inspect.Name, "/") }

func (s seen) id() string { return s.inspect.ID }

func (s seen) running() bool { return translate.Running(s.inspect) }

func (s *sandbox) key() podKey { return keyOf(s.status.Metadata) }

func (s *sandbox) ready() bool { return s.status.State == cri.PodSandboxState_SANDBOX_READY }
