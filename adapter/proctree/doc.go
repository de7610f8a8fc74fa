// SPDX-License-Identifier: Apache-2.0

// Package proctree finds and kills a command of a container and all that it
// started. The engine has no call for it; it tells the command's pid, and /proc
// tells the rest. The daemon has to be in the host's pid namespace.
//
// A process counts only if its cgroup names the container. To the command
// belong, over any number of steps:
//   - its children and theirs;
//   - whoever is in a session that one of them leads or led. The runtime gives
//     each command a session, and the kernel keeps the number of a session as
//     long as anybody is in it, so this finds orphans;
//   - whoever holds one of the command's own pipes, or its terminal, as a
//     standard stream. This finds an orphan that made a session for itself.
//
// A process that gave up parent, session and all three streams is a daemon of
// the container's, and stays. So does whatever ran before the command.
//
// When to kill is the adapter's choice. The package imports the standard
// library, errdefs and x/sys only. Package adapter may import it.
package proctree
