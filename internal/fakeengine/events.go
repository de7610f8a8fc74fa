// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	timestamp "github.com/docker/docker/api/types/time"
)

// replayed is how many past events an engine can tell a stream with Since:
// dockerd keeps no more.
const replayed = 256

// journal holds all events since the engine started.
type journal struct {
	mu       sync.Mutex
	messages []events.Message
	lastTime int64
	added    chan struct{} // closed, and made anew, with each message
}

// Events streams what happens from the call on, and before that the last 256
// events that are not older than Since. It honours the filters type, event,
// label and container, and refuses other filters and Until.
func (e *Engine) Events(ctx context.Context, options events.ListOptions) (<-chan events.Message, <-chan error) {
	messages, errs := make(chan events.Message), make(chan error, 1)
	session, _ := e.faults.state()
	next, err := call(ctx, e, Call{"Events", "", options}, func() (int, error) {
		return e.journal.find(options)
	})
	if err != nil {
		errs <- err
		close(errs)
		return messages, errs
	}
	go func() {
		defer close(errs)
		errs <- e.follow(ctx, session, next, options.Filters, messages)
	}()
	return messages, errs
}

// follow sends what matches until the context or the session ends.
func (e *Engine) follow(ctx context.Context, session <-chan struct{}, next int, wanted filters.Args, messages chan<- events.Message) error {
	for {
		batch, added := e.journal.from(next)
		next += len(batch)
		for _, m := range batch {
			if err := e.faults.waitInStream(ctx, session); err != nil {
				return err
			}
			if !matches(wanted, m) {
				continue
			}
			select {
			case messages <- wire(m):
			case <-session:
			case <-ctx.Done():
			}
		}
		select {
		case <-added:
		case <-session:
			return io.ErrUnexpectedEOF
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// find is the first message of a stream with the options.
func (j *journal) find(options events.ListOptions) (int, error) {
	if options.Until != "" {
		return 0, invalid("the fake engine does not end streams of events")
	}
	if err := onlyFilters(options.Filters, "type", "event", "label", "container"); err != nil {
		return 0, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	next := len(j.messages)
	if options.Since == "" {
		return next, nil
	}
	since, err := nanoseconds(options.Since)
	if err != nil {
		return 0, invalid("%v", err)
	}
	oldest := max(0, next-replayed)
	for next > oldest && j.messages[next-1].TimeNano >= since {
		next--
	}
	return next, nil
}

// from returns the messages from there on, and what is closed with the next.
func (j *journal) from(next int) ([]events.Message, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if next > len(j.messages) { // forgotten
		return nil, j.added
	}
	return j.messages[next:], j.added
}

func (j *journal) add(m events.Message) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lastTime = max(time.Now().UnixNano(), j.lastTime+1)
	m.TimeNano = j.lastTime
	m.Time = m.TimeNano / int64(time.Second)
	j.messages = append(j.messages, m)
	close(j.added)
	j.added = make(chan struct{})
}

func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.messages = nil
}

// nanoseconds reads a time as the Engine API writes it: RFC 3339, or seconds
// since 1970 with up to nine digits of a fraction.
func nanoseconds(text string) (int64, error) {
	text, err := timestamp.GetTimestamp(text, time.Now())
	if err != nil {
		return 0, err
	}
	sec, nsec, err := timestamp.ParseTimestamps(text, 0)
	return sec*int64(time.Second) + nsec, err
}

// onlyFilters refuses filters other than the keys named.
func onlyFilters(given filters.Args, keys ...string) error {
	for _, key := range given.Keys() {
		if !slices.Contains(keys, key) {
			return invalid("invalid filter '%s'", key)
		}
	}
	return nil
}

func matches(wanted filters.Args, m events.Message) bool {
	name := m.Actor.Attributes["name"]
	return wanted.ExactMatch("type", string(m.Type)) &&
		wanted.ExactMatch("event", string(m.Action)) &&
		wanted.MatchKVList("label", m.Actor.Attributes) &&
		(wanted.FuzzyMatch("container", m.Actor.ID) || wanted.FuzzyMatch("container", name))
}

// containerEvent tells of something that happened to c. The attributes are the
// labels and what comes in pairs.
func (e *Engine) containerEvent(c *entry, action events.Action, pairs ...string) {
	attributes := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		attributes[pairs[i]] = pairs[i+1]
	}
	maps.Copy(attributes, c.Config.Labels)
	attributes["image"] = c.Config.Image
	attributes["name"] = strings.TrimPrefix(c.Name, "/")
	e.event(events.ContainerEventType, action, c.ID, attributes)
}

func (e *Engine) imageEvent(labels map[string]string, action events.Action, id, name string) {
	attributes := map[string]string{}
	maps.Copy(attributes, labels)
	attributes["name"] = name
	e.event(events.ImageEventType, action, id, attributes)
}

func (e *Engine) event(kind events.Type, action events.Action, id string, attributes map[string]string) {
	e.journal.add(events.Message{
		Type: kind, Action: action, Scope: "local",
		Actor: events.Actor{ID: id, Attributes: attributes},
	})
}

func (e *Engine) dieEvent(c *entry) {
	e.containerEvent(c, events.ActionDie, "exitCode", strconv.Itoa(c.State.ExitCode), "execDuration", "0")
}
