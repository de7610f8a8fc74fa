// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestParseExpected(t *testing.T) {
	for text, word := range map[string]string{
		"all | a spec":                "2 fields",
		"all | a spec | pass: it may": "neither",
		"all | a spec | skip":         "neither",
		"all | a | b | fail: it may":  "4 fields",
	} {
		if _, err := parseExpected(text); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, want %q", text, err, word)
		}
	}
}

// TestExpectedFile finds slips without a run.
func TestExpectedFile(t *testing.T) {
	known := append([]string{"all", "no-apparmor", "limited-root", "serial", "parallel"}, engines...)
	for _, x := range readExpected(t, "expected.txt") {
		for _, condition := range strings.FieldsFunc(x.where, func(r rune) bool { return r == ',' || r == '+' }) {
			if !slices.Contains(known, condition) {
				t.Errorf("%s: nothing is called %q", x.spec, condition)
			}
		}
	}
}

func TestCompare(t *testing.T) {
	want := expected{
		{"all", "[k] skipped", skips, "of a reason"},
		{"20.10,26.1+parallel", "[k] failed", fails, "of a reason"},
	}
	asListed := results{"[k] skipped": {skips, "x"}, "[k] failed": {fails, "x"}, "[k] other": {passes, ""}}
	with := func(change results) results {
		got := maps.Clone(asListed)
		maps.Copy(got, change)
		return got
	}
	for name, c := range map[string]struct {
		engine, mode string
		got          results
		partial      bool
		words        []string
	}{
		"as listed":         {"20.10", "serial", asListed, false, nil},
		"as listed, a mode": {"26.1", "parallel", asListed, false, nil},
		"not there":         {"26.1", "serial", asListed, false, []string{"[k] failed: fail (x), not listed"}},
		"passes by now":     {"20.10", "serial", with(results{"[k] skipped": {passes, ""}}), false, []string{"[k] skipped: pass, listed as skip"}},
		"skips, not fails":  {"20.10", "serial", with(results{"[k] failed": {skips, "x"}}), false, []string{"[k] failed: skip (x), listed as fail"}},
		"not listed":        {"20.10", "serial", with(results{"[k] other": {skips, ""}}), false, []string{"[k] other: skip, not listed"}},
		"no such spec":      {"20.10", "serial", results{"[k] failed": {fails, "x"}}, false, []string{"[k] skipped: listed, and critest has no such spec"}},
		"left out":          {"20.10", "serial", results{"[k] other": {skips, ""}, "[k] failed": {skips, ""}}, true, nil},
		"partial":           {"20.10", "serial", with(results{"[k] other": {fails, "x"}}), true, []string{"[k] other: fail (x), not listed"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := want.compare(c.engine, c.mode, c.got, c.partial)
			if len(got) != len(c.words) {
				t.Fatalf("got %q", got)
			}
			for i, word := range c.words {
				if !strings.HasPrefix(got[i], word) {
					t.Errorf("got %q, want %q", got[i], word)
				}
			}
		})
	}
}

// TestDocument: a run keeps what the document says about other engines.
func TestDocument(t *testing.T) {
	const name = "[k8s.io] Uid|Username [Conformance]"
	want := expected{{"all", name, skips, "a reason"}}
	d := parseDocument("")
	d.record("20.10", "serial", results{name: {passes, ""}, "[k8s.io] gone": {passes, ""}})
	d.record("20.10", "parallel", results{name: {fails, "x"}, "[k8s.io] gone": {passes, ""}})
	first := string(d.render(want))
	for _, line := range []string{
		`| \[k8s.io\] Uid\|Username \[Conformance\] | pass / fail | - | - |`,
		"| 20.10 | serial | 2 | 0 | 0 |",
		"| 20.10 | parallel | 1 | 0 | 1 |",
	} {
		if !strings.Contains(first, line+"\n") {
			t.Errorf("no line %q in\n%s", line, first)
		}
	}
	if again := string(parseDocument(first).render(want)); again != first {
		t.Errorf("read and written again:\n%s", again)
	}
	d = parseDocument(first)
	d.record("20.10", "serial", results{})
	d.record("20.10", "parallel", results{})
	d.record("28.5", "serial", results{name: {skips, "x"}})
	d.record("28.5", "parallel", results{name: {skips, "x"}})
	if second := string(d.render(want)); strings.Contains(second, "gone") || !strings.Contains(second, "| - | - | skip |\n") {
		t.Errorf("after another run:\n%s", second)
	}
}

// TestDocumentIsComplete: what is expected and what is shown are of one mind.
func TestDocumentIsComplete(t *testing.T) {
	text, err := os.ReadFile(documentPath)
	if err != nil {
		t.Skip("no run has written it yet")
	}
	d, want := parseDocument(string(text)), readExpected(t, "expected.txt")
	switch {
	case string(d.render(want)) == string(text):
	case os.Getenv("UPDATE") != "":
		d.write(t, want)
	default:
		t.Errorf("%s is not what a run would write with this expected.txt; UPDATE=1 go test rewrites it", documentPath)
	}
}
