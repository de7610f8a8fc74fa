// SPDX-License-Identifier: Apache-2.0

// Package cgroup sets limits of a running container that the Engine API has no
// fields for, and reads back from the kernel what its limits are. It knows both
// versions of control groups, and both at once: on a hybrid node some
// controllers are in hierarchies of version 1 and the rest in that of version 2.
//
// Where systemd made the container's group, it is told too, as it writes its
// own values again at a daemon-reload. A Store keeps what containers should
// have, so that a daemon that was killed before it could apply it does so later.
//
// Which limits a container should have, and when to apply them, is the
// adapter's choice. The daemon has to be in the host's pid namespace, and see
// the host's hierarchies. Package adapter may import it.
package cgroup
