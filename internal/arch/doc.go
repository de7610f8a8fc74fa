// SPDX-License-Identifier: Apache-2.0

// Package arch has the tests that keep the house as it was drawn: which package
// may import which, who may use which module, what is linked into the daemon,
// and a few calls that belong in one place only. The rules are the tables in
// rules_test.go; changing one is a decision, not a repair.
//
// It has no code but tests, and nothing imports it.
package arch
