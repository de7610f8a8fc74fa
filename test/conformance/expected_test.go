// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// expected are the lines of expected.txt.
type expected []expectation

// An expectation is that a spec does not pass.
type expectation struct {
	where  string // see expected.txt
	spec   string
	state  string
	reason string
}

func readExpected(t *testing.T, path string) expected {
	t.Helper()
	e, err := parseExpected(string(read(t, path)))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return e
}

func parseExpected(text string) (expected, error) {
	var all expected
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, " | ")
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d has %d fields, not 3", i+1, len(fields))
		}
		state, reason, _ := strings.Cut(fields[2], ": ")
		if reason == "" || state != skips && state != fails {
			return nil, fmt.Errorf("line %d says neither skip nor fail with a reason", i+1)
		}
		all = append(all, expectation{fields[0], fields[1], state, reason})
	}
	return all, nil
}

// applies tells whether an expectation is about a run.
func (e expectation) applies(engine, mode string) bool {
	for one := range strings.SplitSeq(e.where, ",") {
		holds := true
		for condition := range strings.SplitSeq(one, "+") {
			switch condition {
			case "all", engine, mode:
			case "no-apparmor":
				holds = holds && !kernelHasAppArmor()
			case "limited-root":
				holds = holds && rootIsLimited()
			default:
				holds = false
			}
		}
		if holds {
			return true
		}
	}
	return false
}

func kernelHasAppArmor() bool {
	enabled, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(enabled), "Y")
}

// rootIsLimited tells whether there are capabilities that no process here has.
func rootIsLimited() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return false
	}
	_, bounds, _ := strings.Cut(string(status), "CapBnd:")
	var have uint64
	var highest uint
	if _, err := fmt.Sscanf(bounds, "%x", &have); err != nil {
		return false
	}
	if _, err := fmt.Sscan(string(last), &highest); err != nil {
		return false
	}
	return have != 1<<(highest+1)-1
}

// compare lists what differs, in the order of names. With partial, specs may be
// missing and may have been left out.
func (e expected) compare(engine, mode string, got results, partial bool) []string {
	var problems []string
	note := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	listed := map[string]bool{}
	for _, x := range e {
		if !x.applies(engine, mode) {
			continue
		}
		if listed[x.spec] {
			note("%s: listed twice", x.spec)
		}
		listed[x.spec] = true
		r, there := got[x.spec]
		switch {
		case partial && (!there || r.state == skips && r.message == ""):
		case !there:
			note("%s: listed, and critest has no such spec", x.spec)
		case r.state != x.state:
			note("%s: %s, listed as %s: %s", x.spec, r, x.state, x.reason)
		}
	}
	for spec, r := range got {
		if r.state != passes && !listed[spec] && !(partial && r.state == skips && r.message == "") {
			note("%s: %s, not listed", spec, r)
		}
	}
	slices.Sort(problems)
	return problems
}

// String is the state, and the message if there is one.
func (r result) String() string {
	if r.message == "" {
		return r.state
	}
	return r.state + " (" + r.message + ")"
}
