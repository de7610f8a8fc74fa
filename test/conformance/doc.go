// SPDX-License-Identifier: Apache-2.0

// Package conformance runs critest, the judge that container runtimes share,
// against the daemon on the private engine of test/engine/with-engine.sh, and
// compares each spec's result with expected.txt. See "make conformance".
//
// critest is built from its own module and asks for its images by their own
// names: a registry in the test process answers for those hosts. It is a module
// of its own, so that the daemon's go.mod does not name what critest needs.
package conformance
