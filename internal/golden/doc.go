// SPDX-License-Identifier: Apache-2.0

// Package golden compares what a test got with what a text file says, and
// rewrites the file instead where the environment has UPDATE=1. Rewriting is
// not approving: people review the changed file.
//
// A golden file is either a whole file, such as docs/flags.md, or a page: free
// text that says what the case is about, followed by named sections.
//
//	A read-only mount stays read-only.
//	-- request --
//	{"mounts": [{"readonly": true}]}
//	-- engine --
//	{"HostConfig": {"Mounts": [{"ReadOnly": true}]}}
//
// Only tests import it.
package golden
