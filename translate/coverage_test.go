// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dockershimd/dockershimd/internal/golden"
)

const coverageHead = `# How much of CRI is honoured

Written by a test (make fix) that sets each field of CRI's requests alone and looks what becomes of it, and from
translate/ledger.txt.

| Word | Meaning |
|---|---|
| honoured | the engine is asked for it, or the answer depends on it |
| elsewhere | honoured by the package named; here it is checked at most |
| refused | the request fails with the message shown |
| later | not done yet |
| unsupported | the Engine API has no way to do it |
| moot | there is nothing to do |

Engines are those that each honoured field was tried on, of 20.10, 26.1 and 28.5 as they are without configuration. What an engine
has no words for is done on the node, and then the engine does not matter.

Sandboxes and containers for Windows are refused.

## RPCs

| RPC | |
|---|---|
`

// TestCoverageDocument keeps docs/coverage.md as the code is.
func TestCoverageDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString(coverageHead)
	ledger := readLedger(t)
	for _, m := range methods() {
		name := methodName(m)
		state := "honoured"
		if l, listed := ledger[name]; listed {
			state = l.kind + ": " + l.reason
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, state)
	}
	b.WriteString(fieldTables(coverage(t)))
	golden.File(t, "../docs/coverage.md", []byte(b.String()))
}

// fieldTables are one table for each message that this package translates, and
// one for all other requests.
func fieldTables(rows []row) string {
	var b strings.Builder
	const others = "Other requests"
	var last string
	for _, r := range rows {
		title, field, _ := strings.Cut(r.path, ".")
		if !slices.ContainsFunc(subjects, func(s subject) bool { return s.name() == title }) {
			title, field = others, r.path
		}
		if title != last {
			fmt.Fprintf(&b, "\n## %s\n\n| Field | | Engines | Where or why |\n|---|---|---|---|\n", title)
			last = title
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", field, r.state, r.engines, strings.ReplaceAll(r.note, "|", `\|`))
	}
	return strings.ReplaceAll(strings.ReplaceAll(b.String(), "|  |", "| |"), "|  |", "| |")
}
