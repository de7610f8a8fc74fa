// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// row is what becomes of a field. Some engines may be too old to honour it.
type row struct{ path, state, engines, note string }

// engines are those that each field is tried on: 20.10, the oldest; 26.1; and
// the newest, which can do everything.
var engines = []struct {
	name  string
	facts Facts
}{
	{"20.10", older("1.41", "20.10.24", false)},
	{"26.1", older("1.45", "26.1.5", true)},
	{"28.5", capable()},
}

// older is an engine that lacks what its API version lacks, and CDI, which is off
// before 28. It knows its runtimes' features from 25.0 on.
func older(api, version string, features bool) Facts {
	f := capable()
	f.APIVersion, f.EngineVersion, f.CDI = api, version, false
	if !features {
		f.Runtimes = map[string]RuntimeFeatures{"": {}, "runc": {}, "runsc": {}}
	}
	return f
}

// States of a field that is not in the ledger.
const (
	stateHonoured  = "honoured"
	stateRefused   = "refused"
	stateElsewhere = "elsewhere"
)

// walk collects the rows of all messages and the lines of the ledger that it
// has come by.
type walk struct {
	testing.TB
	ledger map[string]line
	used   map[string]bool
	rows   []row
}

// coverage walks through all of CRI's requests.
func coverage(t testing.TB) []row {
	w := &walk{t, readLedger(t), map[string]bool{}, nil}
	for _, s := range subjects {
		w.fields(s, nil, s.valid.ProtoReflect().Descriptor())
	}
	for _, s := range requests(t) {
		w.fields(s, nil, s.valid.ProtoReflect().Descriptor())
	}
	for _, m := range methods() {
		w.used[methodName(m)] = true
	}
	for _, path := range slices.Sorted(maps.Keys(w.ledger)) {
		if !w.used[path] {
			t.Errorf("ledger.txt: there is no %s, or it is honoured; take its line out", path)
		}
	}
	return w.rows
}

// requests are the messages of the RPCs that are implemented and that this
// package does not see.
func requests(t testing.TB) []subject {
	var out []subject
	for _, m := range methods() {
		if !implemented(t, m) || translated(m.Input()) {
			continue
		}
		kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, subject{valid: kind.New().Interface()})
	}
	return out
}

// translated tells whether the message is one of subjects.
func translated(d protoreflect.MessageDescriptor) bool {
	return slices.ContainsFunc(subjects, func(s subject) bool { return s.valid.ProtoReflect().Descriptor() == d })
}

// fields tries each field of a message that lies at the end of the way.
func (w *walk) fields(s subject, to way, d protoreflect.MessageDescriptor) {
	for i := range d.Fields().Len() {
		w.field(s, append(slices.Clone(to), d.Fields().Get(i)))
	}
}

// field gives the field its row. Messages are looked into, unless they have a
// row as a whole.
func (w *walk) field(s subject, to way) {
	path := s.path(to)
	l, listed := w.ledger[path]
	folder, away := elsewhere[path]
	switch {
	case listed:
		w.used[path] = true
		w.ignored(s, to)
		w.rows = append(w.rows, row{path: path, state: l.kind, note: l.reason})
	case away:
		w.ignored(s, to)
		w.rows = append(w.rows, row{path: path, state: stateElsewhere, note: "package " + folder})
	case isMessage(to.last()):
		w.message(s, to)
	default:
		w.rows = append(w.rows, w.verdict(s, to))
	}
}

// message looks into a message, unless it is refused whatever it says, or has
// a table of its own.
func (w *walk) message(s subject, to way) {
	if s.observe == nil && translated(to.last().Message()) {
		return
	}
	if why := w.refusedMessage(s, to); why != "" {
		w.rows = append(w.rows, row{path: s.path(to), state: stateRefused, note: why})
		return
	}
	w.fields(s, to, to.last().Message())
}

// refusedMessage says why the request is refused when the message is there and
// empty.
func (w *walk) refusedMessage(s subject, to way) string {
	if s.observe == nil {
		return ""
	}
	inside := append(slices.Clone(to), to.last().Message().Fields().Get(0))
	_, err := s.observe(w, capable(), s.with(inside))
	return s.refusal(to, err)
}

// ignored holds a field that is said to be honoured elsewhere or not at all,
// and all the fields inside it, to making no difference here.
func (w *walk) ignored(s subject, to way) {
	if isMessage(to.last()) {
		fields := to.last().Message().Fields()
		for i := range fields.Len() {
			w.ignored(s, append(slices.Clone(to), fields.Get(i)))
		}
		return
	}
	for _, o := range s.try(w, capable(), to) {
		if o.err != nil || o.changes {
			w.Errorf("%s is honoured or refused, although a table says otherwise: take it out of ledger.txt, or of elsewhere", s.path(to))
		}
	}
}

// verdict is the row of a field that no table knows.
func (w *walk) verdict(s subject, to way) row {
	path := s.path(to)
	var honoured, refused, notes []string
	for _, o := range s.try(w, capable(), to) {
		one := path + "=" + o.value
		l, listed := w.ledger[one]
		switch {
		case o.err != nil:
			why := s.refusal(to, o.err)
			if why == "" {
				w.Errorf("%s is refused by an error that does not name it: %v", one, o.err)
			}
			refused = append(refused, why)
			notes = append(notes, o.value+": refused")
		case o.changes:
			honoured = append(honoured, o.value)
		case listed:
			w.used[one] = true
			notes = append(notes, fmt.Sprintf("%s: %s, %s", o.value, l.kind, l.reason))
		default:
			w.Errorf("%s is dropped in silence: honour it, refuse it, or give it a line in ledger.txt", one)
		}
	}
	if len(honoured) == 0 && len(refused) > 0 {
		return row{path: path, state: stateRefused, note: refused[0]}
	}
	return row{path, stateHonoured, w.enginesOf(s, to, honoured), strings.Join(notes, "; ")}
}

// enginesOf are the engines that honour what the newest does. One that honours
// some values only is a case that has not come up.
func (w *walk) enginesOf(s subject, to way, values []string) string {
	if s.observe == nil {
		return ""
	}
	var able []string
	for _, e := range engines {
		var honoured []string
		for _, o := range s.try(w, e.facts, to) {
			if o.changes && o.err == nil {
				honoured = append(honoured, o.value)
			}
		}
		switch {
		case slices.Equal(honoured, values):
			able = append(able, e.name)
		case len(honoured) > 0:
			w.Errorf("%s: engine %s honours %v of %v", s.path(to), e.name, honoured, values)
		}
	}
	if len(able) == len(engines) {
		return "all"
	}
	return strings.Join(able, ", ")
}

// indices are the parts of an error's path that the ledger's paths have not.
var indices = regexp.MustCompile(`\[[^\]]*\]`)

// refusal is what an error says of a field, or of a message around it. It is
// empty where it names neither, or is no refusal but a fault, or nil.
func (s subject) refusal(to way, err error) string {
	if !errdefs.IsInvalidArgument(err) && !errdefs.IsFailedPrecondition(err) {
		return ""
	}
	text := betweenProblems.ReplaceAllString(err.Error(), "\n$1")
	exact := strings.TrimPrefix(s.errorPath+"."+to.path(), ".")
	for problem := range strings.Lines(text) {
		path, why, _ := strings.Cut(strings.TrimSuffix(problem, "\n"), ": ")
		path = indices.ReplaceAllString(path, "")
		if path == exact || strings.HasPrefix(exact, path+".") {
			return why
		}
	}
	return ""
}

// tried is what became of a field with one value.
type tried struct {
	value   string
	changes bool
	err     error
}

// try sets the field alone to each of its values.
func (s subject) try(t testing.TB, f Facts, to way) []tried {
	if s.observe == nil {
		return []tried{{value: "any"}}
	}
	path := s.path(to)
	before := s.with(to)
	plain, err := s.observe(t, f, before)
	if err != nil {
		t.Errorf("%s: the request without it is refused: %v", path, err)
	}
	var out []tried
	for _, v := range values(path, to.last()) {
		value := valueName(to.last(), v)
		after := proto.Clone(before)
		to.set(after, v)
		accompany(after, path+"="+value)
		got, err := s.observe(t, f, after)
		out = append(out, tried{value, got != plain, err})
	}
	return out
}

// with is the valid request with everything around the field, which is not set.
func (s subject) with(to way) proto.Message {
	m := proto.Clone(s.valid)
	to.parent(m.ProtoReflect())
	accompany(m, s.path(to))
	return m
}

func accompany(m proto.Message, path string) {
	if add := companions[path]; add != nil {
		add(m)
	}
}
