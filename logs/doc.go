// SPDX-License-Identifier: Apache-2.0

// Package logs carries what containers write from Docker's json-files into log
// files of CRI's format, where the kubelet expects them.
//
// Docker writes a container's output into a json-file of bounded size, the
// spool, whether we are there or not. One follower per container holds the
// spool by its inode, over Docker's rotation of it, and appends to the CRI log.
// Nothing of a container's life waits for it.
//
// Each line is carried once. The bytes of the CRI log are a function of those
// of the spool, so a follower that starts again makes from its last noted
// position the bytes that should be there already, compares them with those
// that are, and goes on where these end: in the middle of a line too.
//
// It leaves to the kubelet when a log is rotated, and the rotated files; to
// Docker the spool; to package adapter which container has which kind of log.
// Packages adapter and cmd import it.
package logs
