// SPDX-License-Identifier: Apache-2.0

// Package enginetest states what the adapter relies on of a Docker Engine, as a
// suite of tests that runs against any of them. The fake of package fakeengine
// passes it always; a real engine is tried where ENGINE_HOST names its
// endpoint, such as unix:///tmp/x/docker.sock.
//
// The engine must be one to throw away, and in the network namespace of the
// test, which plays the registry on 127.0.0.1. The suite removes its containers
// and leaves its images. It needs a static busybox: $BUSYBOX, or the one of
// Debian's busybox-static.
//
// It is written for API 1.41 to 1.51 and images in a storage driver, not in
// containerd, whose ids are other digests. Where the releases differ, a clause
// allows each of the answers that were seen, and says so.
package enginetest
