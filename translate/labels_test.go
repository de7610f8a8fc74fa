// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"maps"
	"testing"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type stringMap = map[string]string

func TestLabelsRoundTrip(t *testing.T) {
	for _, c := range []struct {
		about               string
		labels, annotations stringMap
	}{
		{"nothing", stringMap{}, stringMap{}},
		{"plain", stringMap{"app": "web"}, stringMap{"note": "a b\nc"}},
		{"the same key in both", stringMap{"x": "label"}, stringMap{"x": "annotation"}},
		{"a label like an annotation", stringMap{"annotation.x": "label"}, stringMap{"x": "annotation"}},
		{"an annotation like one's label", stringMap{}, stringMap{"annotation.x": "annotation"}},
		{"keys of older shims", stringMap{labelType: "a", labelLogPath: "b", labelSandboxID: "c", labelContainerName: "d"}, stringMap{labelType: "e"}},
		{"keys of ours", stringMap{labelKeys: "[]", labelAttempt: "9", labelFingerprint: "f"}, stringMap{labelKeys: "x"}},
		{"an escaped key", stringMap{escapePrefix + "x": "1", escapePrefix + escapePrefix + "x": "2", "x": "3"}, stringMap{}},
		{"empty keys and values", stringMap{"": "", "x": ""}, stringMap{"": ""}},
		{"what JSON escapes", stringMap{`<"&\u2028>`: "1"}, stringMap{}},
	} {
		sandbox := sandboxLabels(Sandbox{Config: &cri.PodSandboxConfig{Labels: c.labels, Annotations: c.annotations}})
		expectLabels(t, c.about+", sandbox", sandbox, true, c.labels, c.annotations)
		app := containerLabels(Container{Config: &cri.ContainerConfig{Labels: c.labels, Annotations: c.annotations}})
		expectLabels(t, c.about+", container", app, false, c.labels, c.annotations)
	}
}

func expectLabels(t *testing.T, about string, docker stringMap, sandbox bool, wantLabels, wantAnnotations stringMap) {
	t.Helper()
	labels, annotations := labelsAndAnnotations(docker, sandbox)
	if !maps.Equal(labels, wantLabels) || labels == nil {
		t.Errorf("%s: labels %v, want %v", about, labels, wantLabels)
	}
	if !maps.Equal(annotations, wantAnnotations) || annotations == nil {
		t.Errorf("%s: annotations %v, want %v", about, annotations, wantAnnotations)
	}
}

// The engine adds the labels of the image to those of a container.
func TestImageLabelsAreNotCRIs(t *testing.T) {
	docker := containerLabels(Container{Config: &cri.ContainerConfig{Labels: stringMap{"app": "web"}}})
	docker["maintainer"] = "somebody"
	docker["annotation.note"] = "from the image"
	expectLabels(t, "image labels", docker, false, stringMap{"app": "web"}, stringMap{})
}

// A label that CRI asked for and that is gone is not made up.
func TestLabelsThatAreGone(t *testing.T) {
	docker := containerLabels(Container{Config: &cri.ContainerConfig{Labels: stringMap{"app": "web", "tier": "front"}}})
	delete(docker, "app")
	expectLabels(t, "a label that is gone", docker, false, stringMap{"tier": "front"}, stringMap{})
}

func TestLabelsOfOlderShims(t *testing.T) {
	app := stringMap{
		labelType: typeContainer, labelSandboxID: "s1", labelLogPath: "/var/log/pods/x/0.log",
		labelContainerName: "app", kubeletPodName: "web", "maintainer": "somebody",
		"annotation.io.kubernetes.container.hash": "b5a3",
	}
	expectLabels(t, "container", app, false,
		stringMap{labelContainerName: "app", kubeletPodName: "web", "maintainer": "somebody"},
		stringMap{"io.kubernetes.container.hash": "b5a3"})
	sandbox := stringMap{labelType: typeSandbox, labelContainerName: "POD", kubeletPodName: "web", "annotation.x": "y"}
	expectLabels(t, "sandbox", sandbox, true, stringMap{kubeletPodName: "web"}, stringMap{"x": "y"})
}

func TestSandboxMetadata(t *testing.T) {
	want := &cri.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "5c7c", Attempt: 3}
	for _, c := range []struct {
		about, name string
		labels      stringMap
	}{
		{"ours, whatever its name", "/renamed", sandboxLabels(Sandbox{Config: &cri.PodSandboxConfig{Metadata: want}})},
		{"cri-dockerd's", "/k8s_POD_web_default_5c7c_3", stringMap{kubeletPodName: "web", kubeletPodNamespace: "default", kubeletPodUID: "5c7c"}},
		{"cri-dockerd's after a conflict", "/k8s_POD_web_default_5c7c_3_0badcafe", stringMap{kubeletPodName: "web", kubeletPodNamespace: "default", kubeletPodUID: "5c7c"}},
		{"one made without a kubelet", "/k8s_POD_web_default_5c7c_3", nil},
	} {
		if got := sandboxMetadata(c.labels, c.name); !proto.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.about, got, want)
		}
	}
}

func TestContainerMetadata(t *testing.T) {
	want := &cri.ContainerMetadata{Name: "app", Attempt: 3}
	for _, c := range []struct {
		about, name string
		labels      stringMap
	}{
		{"ours, whatever its name", "/renamed", containerLabels(Container{Config: &cri.ContainerConfig{Metadata: want}})},
		{"cri-dockerd's", "/k8s_app_web_default_5c7c_3", stringMap{labelContainerName: "app"}},
		{"one made without a kubelet", "/k8s_app_web_default_5c7c_3_0badcafe", nil},
	} {
		if got := containerMetadata(c.labels, c.name); !proto.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.about, got, want)
		}
	}
	if got := containerMetadata(nil, "/k8s_app_web_default_5c7c_x"); got.Attempt != 0 {
		t.Errorf("an attempt that is no number counts as %d, want 0", got.Attempt)
	}
}

func TestLabelQuestions(t *testing.T) {
	s := sandboxLabels(Sandbox{Config: &cri.PodSandboxConfig{}})
	c := containerLabels(Container{
		Config: &cri.ContainerConfig{LogPath: "app/0.log"}, Pod: &cri.PodSandboxConfig{LogDirectory: "/var/log/pods/x/"}, SandboxID: "s1",
	})
	if !IsSandbox(s) || IsContainer(s) || IsSandbox(c) || !IsContainer(c) || IsSandbox(nil) || IsContainer(nil) {
		t.Error("sandboxes and containers are not told apart by their labels")
	}
	if got := SandboxID(c); got != "s1" {
		t.Errorf("SandboxID = %q, want s1", got)
	}
	if got, want := LogPath(c), "/var/log/pods/x/app/0.log"; got != want {
		t.Errorf("LogPath = %q, want %q", got, want)
	}
}

func TestFingerprint(t *testing.T) {
	of := func(handler string, c *cri.PodSandboxConfig) string {
		return Fingerprint(sandboxLabels(Sandbox{Config: c, Handler: handler}))
	}
	config := func() *cri.PodSandboxConfig {
		return &cri.PodSandboxConfig{Hostname: "a", Labels: stringMap{"x": "1", "y": "2", "z": "3"}}
	}
	first, again := of("", config()), of("", config())
	if first != again || first == "" {
		t.Errorf("the same request has the fingerprints %q and %q", first, again)
	}
	other := config()
	other.Hostname = "b"
	if first == of("", other) || first == of("runsc", config()) {
		t.Error("another request has the same fingerprint")
	}
	one := Container{Config: &cri.ContainerConfig{}, SandboxID: "s1"}
	two := Container{Config: &cri.ContainerConfig{}, SandboxID: "s2"}
	if one.fingerprint() == two.fingerprint() {
		t.Error("the same container of another sandbox has the same fingerprint")
	}
	if Fingerprint(nil) != "" {
		t.Error("an older shim's object has a fingerprint")
	}
}
