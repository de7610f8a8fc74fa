// SPDX-License-Identifier: Apache-2.0

// Package stats turns what the kernel counts into what the kubelet is told:
// rates from two readings (rates.go), and the disk usage of containers, which is
// measured in the background at a bounded cost (layers.go).
//
// Reading control groups is package adapter/cgroup's. Only package adapter
// imports this one.
package stats
