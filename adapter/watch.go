// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"

	"github.com/dockershimd/dockershimd/translate"
)

const (
	// reconnectPause goes between two attempts to reach the engine.
	reconnectPause = time.Second
	// connectTime bounds the questions asked at a connection's start.
	connectTime = 30 * time.Second
	// compareEvery is how often the index is compared with a full listing, in
	// case an event went missing.
	compareEvery = 5 * time.Minute
	// compareTime bounds one comparison.
	compareTime = 2 * time.Minute
	// compareAtOnce is how many containers are asked about at a time.
	compareAtOnce = 4
	// pingEvery and pingTime: a hung engine is noticed after their sum, which is
	// below the kubelet's own patience of 30 s without a good Status.
	pingEvery = 5 * time.Second
	pingTime  = 5 * time.Second
	// collectEvery is how often network clears up after pods that are gone.
	collectEvery = time.Hour
	// clearTime bounds one such clearing.
	clearTime = 5 * time.Minute
)

// health is whether the engine answers, and if not, why.
type health struct {
	mu sync.Mutex
	// following is why its events cannot be followed, pinging why it does not
	// answer a ping; nil is good.
	following, pinging error
}

func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.following != nil {
		return h.following
	}
	return h.pinging
}

// setFollowing reports whether that changed the engine's health.
func (h *health) setFollowing(err error) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed = (h.following == nil) != (err == nil)
	h.following = err
	return changed
}

func (h *health) setPinging(err error) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed = (h.pinging == nil) != (err == nil)
	h.pinging = err
	return changed
}

// Run keeps the index true until ctx ends: it follows the engine's events, and
// connects again whenever they break off. It returns nil, when nothing of ours
// runs any more; pulls run for as long as an RPC waits for them.
func (s *Server) Run(ctx context.Context) error {
	defer s.flights.wait()
	defer s.background.Wait()
	s.background.Go(func() { s.ping(ctx) })
	s.background.Go(func() { s.collect(ctx) })
	s.background.Go(func() { s.sample(ctx) })
	s.background.Go(func() { s.measureLayers(ctx) })
	for ctx.Err() == nil {
		err := s.follow(ctx)
		if s.health.setFollowing(err) && ctx.Err() == nil {
			s.log.Error(err, "engine lost: lists and statuses show what was last known", "endpoint", s.config.Endpoint)
		}
		wait(ctx, reconnectPause)
	}
	return nil
}

// wait lets time pass, or ctx end.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// ping asks the engine for a sign of life. A hung one keeps its connections, so
// nothing else would tell.
func (s *Server) ping(ctx context.Context) {
	for ctx.Err() == nil {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, pingTime)
			defer cancel()
			_, err := s.engine.Ping(ctx)
			return err
		}()
		if err != nil {
			err = fmt.Errorf("the engine does not answer: %w", err)
		}
		if s.health.setPinging(err) && ctx.Err() == nil {
			s.log.Info("engine's answer to pings changed", "error", err)
		}
		wait(ctx, pingEvery)
	}
}

// follow connects, fills the index and keeps it true. It returns what ended it.
func (s *Server) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	since := time.Now()
	if err := s.refreshNode(ctx); err != nil {
		return err
	}
	// The stream comes before the listing, and begins before it was asked for:
	// nothing falls between.
	messages, broken := s.engine.Events(ctx, events.ListOptions{
		Since:   fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()),
		Filters: newsFilter(),
	})
	if err := s.compare(ctx, true); err != nil {
		return err
	}
	s.setSynced()
	if s.health.setFollowing(nil) {
		n := s.node.Load()
		s.log.Info("engine reached", "endpoint", s.config.Endpoint, "engine", n.EngineVersion, "api", n.APIVersion,
			"cgroupDriver", n.CgroupDriver, "cgroupVersion", n.CgroupVersion, "oomScoreFloor", n.OOMScoreFloor)
	}
	s.wakeCollect()
	full := time.NewTicker(compareEvery)
	defer full.Stop()
	for {
		var err error
		select {
		case m := <-messages:
			err = s.news(ctx, m)
		case <-full.C:
			err = s.compare(ctx, false)
		case err = <-broken:
			err = fmt.Errorf("follow the engine's events: %w", err)
		}
		if err != nil {
			return err
		}
	}
}

// newsFilter lets through what changes the index. Execs, which probes make all
// the time, are left out by the engine.
func newsFilter() filters.Args {
	f := filters.NewArgs()
	for _, t := range []events.Type{events.ContainerEventType, events.ImageEventType, events.DaemonEventType} {
		f.Add("type", string(t))
	}
	for _, a := range []events.Action{
		events.ActionCreate, events.ActionStart, events.ActionRestart, events.ActionDie, events.ActionOOM,
		events.ActionPause, events.ActionUnPause, events.ActionUpdate, events.ActionRename, events.ActionDestroy,
		events.ActionPull, events.ActionLoad, events.ActionImport, events.ActionTag, events.ActionUnTag, events.ActionDelete,
		events.ActionReload,
	} {
		f.Add("event", string(a))
	}
	return f
}

// news takes over what one event tells.
func (s *Server) news(ctx context.Context, m events.Message) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	at := time.Unix(0, m.TimeNano)
	switch m.Type {
	case events.ContainerEventType:
		return s.containerNews(ctx, m, at)
	case events.ImageEventType:
		if s.images.asked().After(at) {
			return nil // a listing made since then shows it
		}
		return s.images.refresh(ctx)
	case events.DaemonEventType:
		return s.refreshNode(ctx)
	}
	return nil
}

func (s *Server) containerNews(ctx context.Context, m events.Message, at time.Time) error {
	id, labels := m.Actor.ID, m.Actor.Attributes
	if !translate.IsSandbox(labels) && !translate.IsContainer(labels) {
		return nil
	}
	switch m.Action {
	case events.ActionDestroy:
		s.index.remove(id, at)
		if translate.IsSandbox(labels) {
			s.detachGone(ctx, id)
		}
		ctx := context.WithoutCancel(ctx)
		s.background.Go(func() {
			if err := errors.Join(s.unlinkLog(labels, id), s.forgetLog(ctx, labels, id), s.forgetNodeWork(labels, id)); err != nil {
				s.log.Error(err, "what was kept or made for a removed container stays", "container", id)
			}
		})
		return nil
	case events.ActionOOM:
		s.index.oomKilled(id)
		return nil
	case events.ActionCreate, events.ActionStart:
		if s.index.expects(labels["name"]) {
			return nil
		}
	}
	if last, ok := s.index.last(id); ok && !at.After(last.at) {
		return nil
	}
	a, err := s.ask(ctx, id)
	if err != nil {
		return err
	}
	if !a.endsLog() {
		s.take(ctx, a)
		return nil
	}
	// An end waits for the container's log, and the news of others do not.
	ctx = context.WithoutCancel(ctx)
	s.background.Go(func() { s.take(ctx, a) })
	return nil
}

// refresh asks the engine about one object of ours, and returns when the index
// shows the answer.
func (s *Server) refresh(ctx context.Context, id string) error {
	a, err := s.ask(ctx, id)
	if err != nil {
		return err
	}
	s.take(ctx, a)
	return nil
}

// answer is what the engine said of one object of ours, and when it was asked.
type answer struct {
	seen
	// gone tells when the object was found not to exist; nothing else is known then.
	gone time.Time
}

// endsLog tells whether the answer is of a container that writes no more to a
// log of ours.
func (a answer) endsLog() bool {
	return a.gone.IsZero() && translate.CRILog(a.inspect.Config.Labels) && !a.running()
}

func (s *Server) ask(ctx context.Context, id string) (a answer, err error) {
	a.at = time.Now()
	a.inspect, err = s.engine.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		a.inspect.ContainerJSONBase = &container.ContainerJSONBase{ID: id}
		a.gone = time.Now()
		return a, nil
	}
	if err != nil {
		return a, fmt.Errorf("inspect container %s: %w", id, err)
	}
	return a, nil
}

// take puts an answer into the index; an end only when all that the container
// wrote is in its log.
func (s *Server) take(ctx context.Context, a answer) {
	if !a.gone.IsZero() {
		s.index.remove(a.id(), a.gone)
		return
	}
	s.followLog(ctx, a.seen)
	last, known := s.index.last(a.id())
	if !(known && translate.Ended(last.inspect)) && s.killedForMemory(a) {
		a.inspect.State.OOMKilled = true // the answer is ours alone
	}
	s.index.put(a.inspect, a.at, s.addressesOf)
	if a.running() && (!known || last.inspect.State.Pid != a.inspect.State.Pid) {
		s.takeProcess(ctx, a.id())
	}
}

// takeProcess sees to a container whose process is new to us: we have started
// it, or somebody else has, or this daemon was away.
func (s *Server) takeProcess(ctx context.Context, id string) {
	c, err := s.index.container(id)
	if err != nil || !c.running() {
		return // a sandbox, or gone again
	}
	s.identify(c)
	if s.starting.has(id) {
		return // its RPC sets its limits, and answers for them
	}
	if err := s.limitCgroup(ctx, c.seen); err != nil {
		s.log.Error(err, "limits of a running container cannot be set", "container", id)
	}
}

// addressesOf are those that network holds for a sandbox which the index does
// not know yet, after a restart of ours.
func (s *Server) addressesOf(c container.InspectResponse) []string {
	if translate.HostNetwork(c) || !translate.Running(c) || !s.network.Holds(c.ID, c.State.Pid) {
		return nil
	}
	return s.network.Addresses(c.ID)
}

// compare makes the index agree with a full listing. With all, each object is
// asked about anew; else only those whose state differs.
func (s *Server) compare(ctx context.Context, all bool) error {
	ctx, cancel := context.WithTimeout(ctx, compareTime)
	defer cancel()
	if err := s.images.refresh(ctx); err != nil {
		return err
	}
	at := time.Now()
	list, err := s.engine.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", translate.LabelType))})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	listed := make(map[string]bool, len(list))
	// Ends wait for logs, all at the same time and none for another.
	var ends sync.WaitGroup
	defer ends.Wait()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(compareAtOnce)
	for _, c := range list {
		listed[c.ID] = true
		if last, ok := s.index.last(c.ID); !all && ok && last.inspect.State.Status == c.State {
			continue
		}
		group.Go(func() error {
			a, err := s.ask(groupCtx, c.ID)
			switch {
			case err != nil:
				return err
			case a.endsLog():
				ends.Go(func() { s.take(ctx, a) })
			default:
				s.take(ctx, a)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	ends.Wait()
	for _, id := range s.index.retain(listed, at) {
		s.detachGone(ctx, id)
	}
	s.retainLogs(ctx)
	if all {
		s.retainNodeWork()
	}
	return nil
}

// detachGone frees what network holds for a sandbox that somebody removed
// behind our back. For one that we removed ourselves nothing is left to do.
func (s *Server) detachGone(ctx context.Context, id string) {
	ctx = context.WithoutCancel(ctx)
	s.background.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, clearTime)
		defer cancel()
		if err := s.network.Detach(ctx, id); err != nil {
			s.log.Error(err, "network of a removed sandbox not freed; it is tried again hourly", "sandbox", id)
		}
	})
}

// collect lets network clear up after pods that are gone: at the start, and
// then now and again.
func (s *Server) collect(ctx context.Context) {
	every := time.NewTicker(collectEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.collectNow:
		case <-every.C:
		}
		if s.health.err() != nil {
			continue // without the engine nobody knows what is gone
		}
		s.collectOnce(ctx)
		s.checkAttachments(ctx)
	}
}

func (s *Server) collectOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, clearTime)
	defer cancel()
	if err := s.network.Collect(ctx, s.index.sandboxIDs()); err != nil {
		s.log.Error(err, "networks of removed sandboxes not freed; it is tried again hourly")
	}
}

// checkAttachments tells an operator of pods whose network is no longer as it
// was set up: somebody flushed the firewall, or deleted a link. Nothing is mended
// here, since only a new sandbox gets a new attachment.
func (s *Server) checkAttachments(ctx context.Context) {
	for _, id := range s.index.attached() {
		ctx, cancel := context.WithTimeout(ctx, connectTime)
		if err := s.network.Check(ctx, id); err != nil && ctx.Err() == nil {
			s.log.Error(err, "pod's network is not as it was set up", "sandbox", id)
		}
		cancel()
	}
}

// wakeCollect asks for a round of collect; one that is already due is enough.
func (s *Server) wakeCollect() {
	select {
	case s.collectNow <- struct{}{}:
	default:
	}
}
