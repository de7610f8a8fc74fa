// SPDX-License-Identifier: Apache-2.0

// Package pauseimage is the pause image that comes with the daemon, so that a
// node without a registry can run pods: a static program of a few hundred
// bytes per architecture, built from program/pause.c and embedded, and the archive that
// `POST /images/load` takes.
//
// It decides nothing: when the built-in image is used is the adapter's choice.
// It imports the standard library and errdefs only. Package adapter may import
// it.
package pauseimage
