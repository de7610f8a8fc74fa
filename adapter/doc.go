// SPDX-License-Identifier: Apache-2.0

// Package adapter answers the kubelet's CRI calls by making Docker Engine API
// calls. It owns the order of steps, locks, rollback, error codes and the view
// of what exists; every field mapping is package translate's, the pods' network
// is package network's.
//
// An RPC method has five beats: check the request, take the pod's lock, look at
// what is there, act through translate, answer. The edge (edge.go) has logged
// and timed it, and turns its error into a gRPC code (errors.go).
//
// Calls that change a sandbox, or put a container into one, take that pod's
// lock; reads take none; nothing is pulled under a lock. Reads answer from the
// index (index.go), which the engine's events keep true (watch.go).
//
// Only package cmd imports it.
package adapter
