//go:build tools

// SPDX-License-Identifier: Apache-2.0

package conformance

// What critest is made of: it is a test of another module, whose needs "go mod
// tidy" would otherwise not see.
import (
	_ "sigs.k8s.io/cri-tools/pkg/benchmark"
	_ "sigs.k8s.io/cri-tools/pkg/validate"
)
