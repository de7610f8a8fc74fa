// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"testing"

	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// dockerZero is how Docker writes a time that never was.
const dockerZero = "0001-01-01T00:00:00Z"

func TestContainerState(t *testing.T) {
	for _, c := range []struct {
		about string
		state container.State
		want  cri.ContainerState
	}{
		{"created", container.State{Status: "created"}, cri.ContainerState_CONTAINER_CREATED},
		{"failed start, by exit code", container.State{Status: "created", ExitCode: 127}, cri.ContainerState_CONTAINER_EXITED},
		{"failed start, by error", container.State{Status: "created", Error: "no such file"}, cri.ContainerState_CONTAINER_EXITED},
		{"running", container.State{Status: "running"}, cri.ContainerState_CONTAINER_RUNNING},
		{"paused", container.State{Status: "paused"}, cri.ContainerState_CONTAINER_RUNNING},
		{"restarting", container.State{Status: "restarting"}, cri.ContainerState_CONTAINER_RUNNING},
		{"exited", container.State{Status: "exited"}, cri.ContainerState_CONTAINER_EXITED},
		{"dead", container.State{Status: "dead"}, cri.ContainerState_CONTAINER_EXITED},
		{"removing", container.State{Status: "removing"}, cri.ContainerState_CONTAINER_EXITED},
		{"what nobody knows", container.State{Status: "thinking"}, cri.ContainerState_CONTAINER_UNKNOWN},
		{"nothing", container.State{}, cri.ContainerState_CONTAINER_UNKNOWN},
	} {
		if got := containerState(&c.state); got != c.want {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
}

func TestExitReason(t *testing.T) {
	const started = "2026-11-23T10:00:00.5Z"
	for _, c := range []struct {
		about string
		state container.State
		want  string
	}{
		{"success", container.State{StartedAt: started}, "Completed"},
		{"failure", container.State{StartedAt: started, ExitCode: 1}, "Error"},
		{"out of memory", container.State{StartedAt: started, ExitCode: 137, OOMKilled: true}, "OOMKilled"},
		{"out of memory in a child", container.State{StartedAt: started, OOMKilled: true}, "OOMKilled"},
		{"never started", container.State{StartedAt: dockerZero, ExitCode: 127}, "ContainerCannotRun"},
		{"not executable", container.State{StartedAt: dockerZero, ExitCode: 126}, "ContainerCannotRun"},
		{"never started, time left out", container.State{ExitCode: 128}, "StartError"},
	} {
		if got := exitReason(&c.state); got != c.want {
			t.Errorf("%s: %s, want %s", c.about, got, c.want)
		}
	}
}

func TestNanoseconds(t *testing.T) {
	for text, want := range map[string]int64{
		"1970-01-01T00:00:01.000000002Z": 1000000002,
		"1970-01-01T01:00:01+01:00":      1000000000,
		dockerZero:                       0,
		"":                               0,
		"yesterday":                      0,
	} {
		if got := nanoseconds(text); got != want {
			t.Errorf("nanoseconds(%q) = %d, want %d", text, got, want)
		}
	}
}
