// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"time"

	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Reasons that the kubelet shows to people; dockershim introduced them.
const (
	reasonCompleted = "Completed"
	reasonError     = "Error"
	reasonOOMKilled = "OOMKilled"
	// reasonCannotRun: there is no such command in the image, or it may not be run.
	reasonCannotRun = "ContainerCannotRun"
	// reasonStartError: the engine could not start the container at all; this is
	// what the other runtimes say.
	reasonStartError = "StartError"
)

// containerState is the CRI state of a container. A paused container still
// runs; one whose start failed has ended.
func containerState(s *container.State) cri.ContainerState {
	switch s.Status {
	case container.StateRunning, container.StatePaused, container.StateRestarting:
		return cri.ContainerState_CONTAINER_RUNNING
	case container.StateCreated:
		if s.ExitCode == 0 && s.Error == "" {
			return cri.ContainerState_CONTAINER_CREATED
		}
		return cri.ContainerState_CONTAINER_EXITED
	case container.StateExited, container.StateDead, container.StateRemoving:
		return cri.ContainerState_CONTAINER_EXITED
	}
	return cri.ContainerState_CONTAINER_UNKNOWN
}

// exitKilled is the exit code of a process that SIGKILL has ended.
const exitKilled = 137

// KilledBySomebody tells whether a container was ended by SIGKILL, and the engine
// does not know why.
func KilledBySomebody(c container.InspectResponse) bool {
	return Ended(c) && c.State.ExitCode == exitKilled && !c.State.OOMKilled
}

// exitReason says in a word why a container ended.
func exitReason(s *container.State) string {
	switch {
	case nanoseconds(s.StartedAt) == 0 && (s.ExitCode == exitNotRunnable || s.ExitCode == exitNotFound):
		return reasonCannotRun
	case nanoseconds(s.StartedAt) == 0:
		return reasonStartError
	case s.OOMKilled:
		return reasonOOMKilled
	case s.ExitCode == 0:
		return reasonCompleted
	}
	return reasonError
}

// nanoseconds since the epoch of a time as Docker writes it; 0 for Docker's
// zero time and for what is no time.
func nanoseconds(s string) int64 {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return 0
	}
	return t.UnixNano()
}
