// SPDX-License-Identifier: Apache-2.0

// Command logreader reads a container's log with the code that the kubelet
// reads it with for kubectl logs, for tests of who writes the log.
//
//	logreader --endpoint unix:///SOCKET --container ID [--follow] [--tail N] [--since-time TIME] ...
//	logreader --path FILE [--tail N] [--since-time TIME] ...
//
// What the container wrote to its two outputs goes to the process's own. An
// error is told on standard error too, and is exit code 1.
//
// It is in a module apart, so that the daemon's module never requires the
// kubelet's side of CRI.
package main
