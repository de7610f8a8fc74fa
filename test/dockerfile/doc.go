// SPDX-License-Identifier: Apache-2.0

// Package dockerfile builds the repository's Dockerfile on the engine at
// ENGINE_HOST and runs the image that comes out. No registry is needed: the base
// image is made of the machine's own Go, a busybox, and the modules that the
// machine has downloaded already.
package dockerfile
