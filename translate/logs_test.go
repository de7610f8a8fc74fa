// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"maps"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// loggedBody is that of a container with a log path.
func loggedBody(t *testing.T, o LogOptions) Body {
	t.Helper()
	body, _, err := ContainerBody(capable(), Container{
		Config: &cri.ContainerConfig{Metadata: &cri.ContainerMetadata{Name: "app"}, LogPath: "app/0.log"},
		Pod:    &cri.PodSandboxConfig{LogDirectory: "/var/log/pods/web"}, Metadata: podMetadata(), SandboxID: "sandbox1", Log: o,
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestLogOptions(t *testing.T) {
	for _, test := range []struct {
		options LogOptions
		config  map[string]string
		cri     bool
		rotates bool
	}{
		{LogOptions{SpoolSize: "32m", SpoolFiles: 3}, map[string]string{"max-size": "32m", "max-file": "3", "compress": "false"}, true, true},
		{LogOptions{Linked: true}, nil, false, false},
		{LogOptions{}, nil, true, false},
	} {
		body := loggedBody(t, test.options)
		c := container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{HostConfig: body.Host}}
		if body.Host.LogConfig.Type != "json-file" || !maps.Equal(body.Host.LogConfig.Config, test.config) {
			t.Errorf("%+v: engine's options %+v", test.options, body.Host.LogConfig)
		}
		if CRILog(body.Config.Labels) != test.cri || EngineRotates(c) != test.rotates {
			t.Errorf("%+v: CRI's format %v, the engine rotates %v", test.options, CRILog(body.Config.Labels), EngineRotates(c))
		}
		if LogPath(body.Config.Labels) != "/var/log/pods/web/app/0.log" {
			t.Errorf("log path %q", LogPath(body.Config.Labels))
		}
	}
}

// TestOlderLogs: what older shims made has a link, and maybe the engine's own
// default options.
func TestOlderLogs(t *testing.T) {
	if CRILog(map[string]string{labelType: typeContainer, labelLogPath: "/var/log/pods/web/app/0.log"}) {
		t.Error("a container without our label is taken for one with a log of CRI's format")
	}
	unbounded := &container.HostConfig{LogConfig: container.LogConfig{Config: map[string]string{"max-size": "-1"}}}
	if EngineRotates(container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{HostConfig: unbounded}}) {
		t.Error("-1 is taken for a bound")
	}
}

func TestLogOptionsRefused(t *testing.T) {
	for _, test := range []struct {
		options LogOptions
		problem string
	}{
		{LogOptions{SpoolSize: "32m", SpoolFiles: 2}, ""},
		{LogOptions{SpoolSize: "10000000", SpoolFiles: 2}, ""},
		{LogOptions{}, ""},
		{LogOptions{SpoolSize: "32 MB", SpoolFiles: 2}, `"32 MB" is no size`},
		{LogOptions{SpoolSize: "0", SpoolFiles: 2}, "is no size"},
		{LogOptions{SpoolSize: "32m", SpoolFiles: 1}, "fewer than 2"},
	} {
		err := test.options.Validate()
		if test.problem == "" && err != nil || test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)) {
			t.Errorf("%+v: %v, want %q", test.options, err, test.problem)
		}
	}
}
