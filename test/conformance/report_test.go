// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/onsi/ginkgo/v2/types"
)

// What may come of a spec.
const (
	passes = "pass"
	skips  = "skip"
	fails  = "fail"
)

// A result is what came of a spec, and why it did not pass. Specs that a filter
// has left out are skipped without a word.
type result struct{ state, message string }

// results by the names of specs.
type results map[string]result

// readReport reads ginkgo's JSON.
func readReport(t *testing.T, path string) results {
	t.Helper()
	var reports []types.Report
	must(t, json.Unmarshal(read(t, path), &reports))
	all := results{}
	for _, report := range reports {
		for _, spec := range report.SpecReports {
			// What follows the first line is in critest's log.
			message, _, _ := strings.Cut(strings.TrimSpace(spec.Failure.Message), "\n")
			r := result{state: fails, message: message}
			switch {
			case spec.State.Is(types.SpecStatePassed):
				r.state = passes
			case spec.State.Is(types.SpecStateSkipped | types.SpecStatePending):
				r.state = skips
			}
			name := strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), " ")
			if spec.LeafNodeType != types.NodeTypeIt {
				if r.state == fails {
					t.Errorf("%s: %s", spec.LeafNodeType, r.message)
				}
				continue
			}
			if _, twice := all[name]; twice {
				t.Errorf("there are two specs %q", name)
			}
			all[name] = r
		}
	}
	return all
}
