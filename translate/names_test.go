// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"regexp"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// dockerNamePattern is what the engine takes as a container's name
// (moby: daemon/names).
var dockerNamePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

func TestParseName(t *testing.T) {
	web := dockerNameFields{container: "app", pod: "web", namespace: "default", uid: "5c7c", attempt: "2"}
	for _, c := range []struct {
		about, name string
		want        dockerNameFields
	}{
		{"six fields", "k8s_app_web_default_5c7c_2", web},
		{"as inspect returns it", "/k8s_app_web_default_5c7c_2", web},
		{"seven fields, after a conflict", "k8s_app_web_default_5c7c_2_1a2b3c4d", web},
		{"too few fields", "k8s_app_web_default_5c7c", dockerNameFields{}},
		{"too many fields", "k8s_app_web_default_5c7c_2_1a2b3c4d_x", dockerNameFields{}},
		{"another prefix", "k9s_app_web_default_5c7c_2", dockerNameFields{}},
		{"somebody's container", "/nginx", dockerNameFields{}},
		{"nothing", "", dockerNameFields{}},
	} {
		if got := parseName(c.name); got != c.want {
			t.Errorf("%s: parseName(%q) = %+v, want %+v", c.about, c.name, got, c.want)
		}
	}
}

func TestDockerNamesKeepApart(t *testing.T) {
	names := map[string]string{}
	add := func(what, name string) {
		if other, taken := names[name]; taken {
			t.Errorf("%s and %s are both called %s", what, other, name)
		}
		if !dockerNamePattern.MatchString(name) {
			t.Errorf("%s is called %s, which the engine refuses", what, name)
		}
		names[name] = what
	}
	pod := &cri.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "5c7c"}
	add("the sandbox", sandboxDockerName(pod))
	add("its second attempt", sandboxDockerName(&cri.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "5c7c", Attempt: 1}))
	add("a container", containerDockerName(pod, &cri.ContainerMetadata{Name: "app"}))
	add("its second attempt too", containerDockerName(pod, &cri.ContainerMetadata{Name: "app", Attempt: 1}))
	add("web_default in x", sandboxDockerName(&cri.PodSandboxMetadata{Name: "web_default", Namespace: "x", Uid: "5c7c"}))
	add("web in default_x", sandboxDockerName(&cri.PodSandboxMetadata{Name: "web", Namespace: "default_x", Uid: "5c7c"}))
	add("the same without underscore", sandboxDockerName(&cri.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "x"}))
	add("a uid like an attempt", sandboxDockerName(&cri.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "5c7c_1"}))
}
