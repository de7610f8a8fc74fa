// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// MatchSandbox tells whether a list with this filter shows the sandbox. Every
// part of the filter that is set must hold; an id may be shortened.
func MatchSandbox(f *cri.PodSandboxFilter, s *cri.PodSandbox) bool {
	return strings.HasPrefix(s.Id, f.GetId()) &&
		(f.GetState() == nil || f.GetState().GetState() == s.State) &&
		matchLabels(f.GetLabelSelector(), s.Labels)
}

// MatchContainer is MatchSandbox for containers.
func MatchContainer(f *cri.ContainerFilter, c *cri.Container) bool {
	return strings.HasPrefix(c.Id, f.GetId()) &&
		strings.HasPrefix(c.PodSandboxId, f.GetPodSandboxId()) &&
		(f.GetState() == nil || f.GetState().GetState() == c.State) &&
		matchLabels(f.GetLabelSelector(), c.Labels)
}

func matchLabels(selector, labels map[string]string) bool {
	for k, want := range selector {
		if got, ok := labels[k]; !ok || got != want {
			return false
		}
	}
	return true
}
