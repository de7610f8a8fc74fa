// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// engines are the columns of the document.
var engines = []string{"20.10", "26.1", "28.5"}

// documentPath is where the results are shown.
var documentPath = filepath.Join("..", "..", "docs", "conformance.md")

// document is the table of docs/conformance.md: spec, engine, mode, state. A run
// replaces what it knows about its engine and keeps the others' columns.
type document map[string]map[string]map[string]string

func readDocument(t *testing.T) document {
	t.Helper()
	text, err := os.ReadFile(documentPath)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return parseDocument(string(text))
}

// Marks of the table's lines. Names of specs begin with a bracket.
const (
	rowMark   = "| \\["
	cellMark  = " | "
	otherMode = " / "
)

func parseDocument(text string) document {
	d := document{}
	for _, line := range strings.Split(text, "\n") {
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), cellMark)
		if !strings.HasPrefix(line, rowMark) || len(cells) != 1+len(engines) {
			continue
		}
		for i, engine := range engines {
			first, second, differ := strings.Cut(cells[1+i], otherMode)
			if !differ {
				second = first
			}
			d.set(unescape(cells[0]), engine, modes[0].name, first)
			d.set(unescape(cells[0]), engine, modes[1].name, second)
		}
	}
	return d
}

// set notes a state; an empty one and a dash mean that it is not known.
func (d document) set(spec, engine, mode, state string) {
	if state == "" || state == "-" {
		return
	}
	if d[spec] == nil {
		d[spec] = map[string]map[string]string{}
	}
	if d[spec][engine] == nil {
		d[spec][engine] = map[string]string{}
	}
	d[spec][engine][mode] = state
}

// record replaces what is known about a run.
func (d document) record(engine, mode string, got results) {
	for spec := range d {
		delete(d[spec][engine], mode)
	}
	for spec, r := range got {
		d.set(spec, engine, mode, r.state)
	}
}

// cell is one state, or one for each mode where they differ.
func (d document) cell(spec, engine string) string {
	first := cmp.Or(d[spec][engine][modes[0].name], "-")
	second := cmp.Or(d[spec][engine][modes[1].name], "-")
	if first == second {
		return first
	}
	return first + otherMode + second
}

func (d document) write(t *testing.T, want expected) {
	t.Helper()
	must(t, os.WriteFile(documentPath, d.render(want), 0o644))
}

const introduction = `<!-- Written by "make conformance"; do not edit. -->

# Conformance

critest (sigs.k8s.io/cri-tools v1.36.0) judges every container runtime. ` + "`make conformance`" + ` builds it from its module and
runs it against dockershimd on each engine, twice: one spec after the other with streams over SPDY, and four at once with streams over
WebSocket.

Its images are made of Debian's busybox and a few small programs, and come by their own names from a registry of the test. The one
that critest pulls by digest cannot be had so, since nobody else can make the bytes that its digest names. Specs for SELinux appear
only where the kernel enforces it.
`

func (d document) render(want expected) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, introduction, "\n| engine | mode | passed | skipped | failed |\n|---|---|---|---|---|\n")
	for _, engine := range engines {
		for _, m := range modes {
			count := map[string]int{}
			for spec := range d {
				count[d[spec][engine][m.name]]++
			}
			if count[passes]+count[skips]+count[fails] > 0 {
				fmt.Fprintf(&b, "| %s | %s | %d | %d | %d |\n", engine, m.name, count[passes], count[skips], count[fails])
			}
		}
	}
	fmt.Fprint(&b, "\n## What may be skipped or fail\n\nThe run fails when one of these passes, or when another does not. The kernel decides about no-apparmor; with limited-root, root has\nnot all capabilities, as in a container.\n\n| where | spec | result |\n|---|---|---|\n")
	for _, x := range want {
		// The name is not at the beginning of the line, where parseDocument looks.
		fmt.Fprintf(&b, "| %s | %s | %s: %s |\n", x.where, escape(x.spec), x.state, escape(x.reason))
	}
	fmt.Fprintf(&b, "\n## All specs\n\nWhere the two runs differ, the first is %s and the second %s.\n\n| spec | %s |\n|---|%s\n",
		modes[0].name, modes[1].name, strings.Join(engines, cellMark), strings.Repeat("---|", len(engines)))
	for _, spec := range slices.Sorted(maps.Keys(d)) {
		cells := []string{escape(spec)}
		for _, engine := range engines {
			cells = append(cells, d.cell(spec, engine))
		}
		if strings.Trim(strings.Join(cells[1:], ""), "-") != "" {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, cellMark))
		}
	}
	return b.Bytes()
}

// marks of Markdown in names of specs.
var (
	escaped   = strings.NewReplacer("|", `\|`, "[", `\[`, "]", `\]`, "*", `\*`, "<", `\<`)
	unescaped = strings.NewReplacer(`\|`, "|", `\[`, "[", `\]`, "]", `\*`, "*", `\<`, "<")
)

func escape(text string) string   { return escaped.Replace(text) }
func unescape(text string) string { return unescaped.Replace(text) }
