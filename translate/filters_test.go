// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestMatchSandbox(t *testing.T) {
	s := &cri.PodSandbox{Id: "abcdef", State: cri.PodSandboxState_SANDBOX_NOTREADY, Labels: stringMap{"app": "web", "empty": ""}}
	ready := &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_READY}
	notReady := &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_NOTREADY}
	for _, c := range []struct {
		about  string
		filter *cri.PodSandboxFilter
		want   bool
	}{
		{"no filter", nil, true},
		{"an empty filter", &cri.PodSandboxFilter{}, true},
		{"its id", &cri.PodSandboxFilter{Id: "abcdef"}, true},
		{"the beginning of its id", &cri.PodSandboxFilter{Id: "abc"}, true},
		{"another id", &cri.PodSandboxFilter{Id: "bcdef"}, false},
		{"a longer id", &cri.PodSandboxFilter{Id: "abcdef0"}, false},
		{"its state", &cri.PodSandboxFilter{State: notReady}, true},
		{"another state, which is the zero one", &cri.PodSandboxFilter{State: ready}, false},
		{"its label", &cri.PodSandboxFilter{LabelSelector: stringMap{"app": "web"}}, true},
		{"another value", &cri.PodSandboxFilter{LabelSelector: stringMap{"app": "db"}}, false},
		{"an empty value", &cri.PodSandboxFilter{LabelSelector: stringMap{"empty": ""}}, true},
		{"a label it has not", &cri.PodSandboxFilter{LabelSelector: stringMap{"tier": ""}}, false},
		{"one of two labels", &cri.PodSandboxFilter{LabelSelector: stringMap{"app": "web", "tier": "x"}}, false},
		{"everything", &cri.PodSandboxFilter{Id: "a", State: notReady, LabelSelector: stringMap{"app": "web"}}, true},
		{"everything but the state", &cri.PodSandboxFilter{Id: "a", State: ready, LabelSelector: stringMap{"app": "web"}}, false},
	} {
		if got := MatchSandbox(c.filter, s); got != c.want {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
}

func TestMatchContainer(t *testing.T) {
	one := &cri.Container{Id: "abcdef", PodSandboxId: "s1", State: cri.ContainerState_CONTAINER_RUNNING, Labels: stringMap{"app": "web"}}
	created := &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_CREATED}
	running := &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING}
	for _, c := range []struct {
		about  string
		filter *cri.ContainerFilter
		want   bool
	}{
		{"no filter", nil, true},
		{"the beginning of its id", &cri.ContainerFilter{Id: "ab"}, true},
		{"another id", &cri.ContainerFilter{Id: "b"}, false},
		{"its sandbox", &cri.ContainerFilter{PodSandboxId: "s"}, true},
		{"another sandbox", &cri.ContainerFilter{PodSandboxId: "s2"}, false},
		{"its state", &cri.ContainerFilter{State: running}, true},
		{"another state, which is the zero one", &cri.ContainerFilter{State: created}, false},
		{"its label", &cri.ContainerFilter{LabelSelector: stringMap{"app": "web"}}, true},
		{"another label", &cri.ContainerFilter{LabelSelector: stringMap{"app": ""}}, false},
	} {
		if got := MatchContainer(c.filter, one); got != c.want {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
}
