// SPDX-License-Identifier: Apache-2.0

// Package network gives sandboxes their network by running CNI plugins.
//
// It owns the choice of the CNI configuration and its reloading, the pin that
// keeps a sandbox's network namespace alive beyond its pause process, the
// arguments plugins get, the order of ADD, CHECK, DEL, STATUS and GC, and what
// is needed to undo an ADD after any crash: libcni's cache of results and a
// record of our own, written before ADD and removed after DEL.
//
// It leaves packets, addresses and firewall rules to the plugins, and pods to
// package adapter: when to attach and detach, which sandboxes exist, and what
// an error means to the kubelet.
//
// Packages adapter and cmd may import it. It imports neither gRPC, nor Docker's
// types, nor any other package of this module.
package network
