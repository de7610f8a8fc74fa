// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/image"
)

// timestamp is the present in the form of Since.
func timestamp() string { return sinceForm(time.Now().UnixNano()) }

func sinceForm(nanoseconds int64) string {
	return fmt.Sprintf("%d.%09d", nanoseconds/1e9, nanoseconds%1e9)
}

// watch is one stream of events.
type watch struct {
	b        *bench
	messages <-chan events.Message
	errs     <-chan error
}

// patience is how long an event may take on a busy machine.
const patience = 30 * time.Second

// watch opens a stream with filters in pairs. Since is not left out: an engine
// answers before it listens, and what happens in between would be lost.
func (b *bench) watch(since string, pairs ...string) *watch {
	messages, errs := b.Events(b.Context(), events.ListOptions{Since: since, Filters: args(pairs)})
	return &watch{b, messages, errs}
}

// mine is a stream of the events of the clause's own containers.
func (b *bench) mine(since string) *watch { return b.watch(since, "label", label+"="+b.token) }

func (w *watch) next() events.Message {
	w.b.Helper()
	select {
	case m := <-w.messages:
		return m
	case err := <-w.errs:
		w.b.Fatalf("stream of events: %v", err)
	case <-time.After(patience):
		w.b.Fatalf("no event in %v", patience)
	}
	panic("unreachable")
}

// until skips to the action.
func (w *watch) until(action events.Action) events.Message {
	w.b.Helper()
	for {
		if m := w.next(); m.Action == action {
			return m
		}
	}
}

// upTo collects the actions until the one given.
func (w *watch) upTo(last events.Action) []string {
	w.b.Helper()
	var actions []string
	for {
		m := w.next()
		actions = append(actions, string(m.Action))
		if m.Action == last {
			return actions
		}
	}
}

// The events of a container come in the order of its life, with its labels, name
// and image, and with the exit code where it dies. Of a stop and the death that
// it brings, 20.10 tells the death first, and later releases either.
func eventsOfOneLife(b *bench) {
	w := b.mine(timestamp())
	id := b.running(alone(), "life", idle...)
	b.stop(id)
	b.remove(id)

	var actions []string
	for range 7 {
		m := w.next()
		b.equal("type", m.Type, events.ContainerEventType)
		b.equal("id", m.Actor.ID, id)
		b.equal("name", m.Actor.Attributes["name"], b.name("life"))
		b.equal("image", m.Actor.Attributes["image"], b.image)
		b.equal("label", m.Actor.Attributes[label], b.token)
		b.equal("seconds", m.Time, m.TimeNano/1e9)
		if m.Action == "die" {
			b.equal("exit code", m.Actor.Attributes["exitCode"], "137")
		}
		actions = append(actions, string(m.Action))
	}
	slices.Sort(actions[4:6])
	b.equal("actions", actions, []string{"create", "start", "kill", "kill", "die", "stop", "destroy"})

	id = b.running(alone(), "forced", idle...)
	b.remove(id)
	b.equal("events of a forced removal", w.upTo("destroy"), []string{"create", "start", "kill", "die", "destroy"})

	id = b.create(b.config(idle...), alone(), b.name("updated"))
	_, err := b.ContainerUpdate(b.Context(), id, container.UpdateConfig{Resources: container.Resources{CPUShares: 100}})
	b.must("update", err)
	b.equal("events of an update", w.upTo("update"), []string{"create", "update"})
}

// An inspect that follows an event shows what the event told.
func eventsAndState(b *bench) {
	w := b.mine(timestamp())
	id := b.create(b.config(exits(3)...), alone(), b.name("dies"))
	started := b.startMeanwhile(id)
	b.equal("exit code of the event", w.until("die").Actor.Attributes["exitCode"], "3")
	c := b.inspect(id)
	b.equal("status at die", c.State.Status, "exited")
	b.equal("exit code at die", c.State.ExitCode, 3)
	b.must("start", <-started)

	id = b.create(b.config(idle...), alone(), b.name("starts"))
	started = b.startMeanwhile(id)
	w.until("start")
	c = b.inspect(id)
	b.equal("running at start", c.State.Running, true)
	b.must("start", <-started)

	b.remove(id)
	w.until("destroy")
	_, err := b.ContainerInspect(b.Context(), id)
	b.wantKind("inspect at destroy", err, notFound)
}

// startMeanwhile starts the container beside what the clause does.
func (b *bench) startMeanwhile(id string) <-chan error {
	started := make(chan error, 1)
	go func() { started <- b.ContainerStart(b.Context(), id, container.StartOptions{}) }()
	return started
}

// Since is inclusive, and nothing after it is lost or told twice.
func eventsReplay(b *bench) {
	since := timestamp()
	first := b.mine(since)
	var made []string
	var middle events.Message
	for i := range 20 {
		made = append(made, b.create(b.config(idle...), alone(), b.name(strconv.Itoa(i))))
		m := first.next()
		if i == 10 {
			middle = m
		}
	}
	b.equal("from the middle", b.mine(sinceForm(middle.TimeNano)).ids(10), made[10:])
	b.equal("from after the middle", b.mine(sinceForm(middle.TimeNano+1)).ids(9), made[11:])
	b.equal("from RFC 3339", b.mine(time.Unix(0, middle.TimeNano).UTC().Format(time.RFC3339Nano)).ids(10), made[10:])
	b.equal("from the start", b.mine(since).ids(20), made)
}

// ids are those of the next messages.
func (w *watch) ids(count int) []string {
	w.b.Helper()
	var all []string
	for range count {
		all = append(all, w.next().Actor.ID)
	}
	return all
}

// An engine remembers the last events only: dockerd 256, of all kinds together.
// Whoever was away for longer has to compare lists.
func eventsReplayDepth(b *bench) {
	since := timestamp()
	var made []string
	for i := range 100 {
		id := b.create(b.config(idle...), alone(), b.name(strconv.Itoa(i)))
		b.remove(id)
		made = append(made, id, id)
	}
	b.equal("replayed", b.mine(since).ids(len(made)), made)
}

// A stream that is opened while things happen tells each of them once.
func eventsWhileOpening(b *bench) {
	since := timestamp()
	const count = 30
	opened := make(chan *watch, 1)
	var made []string
	for i := range count {
		if i == count/2 {
			go func() { opened <- b.mine(since) }()
		}
		made = append(made, b.create(b.config(idle...), alone(), b.name(strconv.Itoa(i))))
	}
	b.equal("created", (<-opened).ids(count), made)
}

// Filters of one key are alternatives, those of different keys add up; so do
// labels.
func eventsFilters(b *bench) {
	since := timestamp()
	id := b.running(alone(), "filters", exits(0)...)
	b.exitCode(id, since)
	mine := label + "=" + b.token
	check := func(what string, want []string, pairs ...string) {
		b.Helper()
		w := b.watch(since, append(pairs, "label", mine)...)
		for _, action := range want {
			b.equal(what, string(w.next().Action), action)
		}
	}
	check("one event", []string{"die"}, "event", "die")
	check("two events", []string{"create", "die"}, "event", "die", "event", "create")
	check("type and event", []string{"start"}, "type", "container", "event", "start")
	check("container", []string{"create", "start", "die"}, "container", id)
	check("container and label's key", []string{"create"}, "container", id, "label", label)

	quiet := b.watch(since, "type", "image", "label", mine)
	b.remove(id)
	b.mine(since).until("destroy")
	select {
	case m := <-quiet.messages:
		b.Errorf("%s %s passed a filter for images", m.Type, m.Action)
	default:
	}
}

// Images tell of being loaded, pulled, untagged and deleted. A load tells the id
// only, and nothing tells of the tags that it gave or took.
func eventsOfImages(b *bench) {
	w := b.watch(timestamp(), "type", "image")
	loaded := smallImage(b)
	tag := "enginetest/" + b.token + ":1"
	b.must("load", b.load(loaded.archive(b, tag)))
	m := w.next()
	b.equal("action", m.Action, events.ActionLoad)
	b.equal("id", m.Actor.ID, loaded.id())
	b.equal("name", m.Actor.Attributes["name"], loaded.id())

	_, err := b.ImageRemove(b.Context(), tag, image.RemoveOptions{})
	b.must("remove", err)
	for _, want := range []events.Action{events.ActionUnTag, events.ActionDelete} {
		m := w.next()
		b.equal("action", m.Action, want)
		b.equal("id", m.Actor.ID, loaded.id())
	}

	ref, _ := b.Publish(b.T, Remote{image: smallImage(b)})
	_, err = b.pull(ref, image.PullOptions{})
	b.must("pull", err)
	m = w.next()
	b.equal("action", m.Action, events.ActionPull)
	b.equal("id", m.Actor.ID, ref)
}

// A stream ends with its context, and says so; a bad Since is refused.
func eventsEnd(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	_, errs := b.Events(ctx, events.ListOptions{})
	cancel()
	b.wantKind("end of a stream", b.oneError(errs), cancelled)

	_, errs = b.Events(b.Context(), events.ListOptions{Since: "yesterday"})
	b.wantKind("bad since", b.oneError(errs), invalid, other)
}

func (b *bench) oneError(errs <-chan error) error {
	b.Helper()
	select {
	case err := <-errs:
		return err
	case <-time.After(patience):
		b.Fatalf("no end of the stream in %v", patience)
		return nil
	}
}
