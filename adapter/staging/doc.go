// SPDX-License-Identifier: Apache-2.0

// Package staging makes on the host the mounts that Docker cannot make itself,
// so that Docker only has to bind them into a container: a host path with
// options that its API lacks (noexec, nosuid, nodev), and an image as a volume.
//
// What is staged under a key is in the folder of that name:
//
//	<dir>/<key>/<n>/image  the layers of an image, put together
//	<dir>/<key>/<n>/mount  the n-th mount, which Docker binds
//
// Folders and mounts are all the state there is. Whatever a killed daemon left,
// whole or half made, is found there and removed. Nothing outlives a reboot: to
// start a container again, its mounts have to be staged again.
//
// Nothing but our own mount points is ever deleted, and unmounting a staged
// mount unmounts nothing of its source.
//
// Which mounts need staging, and when, is the adapter's choice. The package
// imports the standard library, errdefs, mountinfo, securejoin and x/sys only.
// Package adapter may import it.
package staging
