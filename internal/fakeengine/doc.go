// SPDX-License-Identifier: Apache-2.0

// Package fakeengine is a Docker Engine in memory, with faults on demand, for
// the tests of whoever talks to an Engine.
//
// It has every method of adapter.Engine and does what dockerd 20.10 to 28 was
// seen to do; package enginetest states that and checks it on both. Where the
// releases differ, the fake does what is harder on its caller. It knows nothing
// of CRI, runs no process and listens nowhere: what containers and commands do is
// played by functions of the test, and each of their streams is a pair of
// sockets, connected. No container joins a network, so no "network" event is
// sent.
//
// The methods of Engine are of two kinds. Those of the Engine API are counted
// and meet the faults set for them. The others are the test's own hands: they
// change the engine behind its caller's back, always succeed and panic when
// they name a container or an image that is not there.
package fakeengine
