// SPDX-License-Identifier: Apache-2.0

// Package integration tests the daemon as a whole: its program on a real
// engine, with real CNI plugins, called over its socket as a kubelet and crictl
// would. What the daemon says is held against what the kernel and the engine
// show: processes, cgroups, mounts, links, firewall rules.
//
// It needs the rig of test/engine/with-engine.sh, and skips itself without:
// the tests stop and kill the engine, and their pods' network is the rig's.
//
// The files node, daemon, engine, pod, container, balance, wait, busybox,
// registry and cni_plugin are the bench; each of the others tests one subject.
//
// DOCKERSHIMD, CRICTL, STREAMCLIENT and LOGREADER name the programs; without,
// those in bin are taken.
package integration
