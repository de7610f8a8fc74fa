// SPDX-License-Identifier: Apache-2.0

// Package translate maps CRI to the Docker Engine API and back. It owns every
// field mapping, with its tables, defaults and checks.
//
// It is pure: the same arguments give the same answer. It does no I/O, takes
// no context and knows neither clock, environment nor log. What it must know of
// the node comes in as [Facts], what had to be read for one request as
// [Profiles], and what it could not honour goes out as a [Notice].
//
// Any package may import it; it imports none of ours.
package translate
