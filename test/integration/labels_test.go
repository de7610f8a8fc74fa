// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"maps"
	"strings"
	"syscall"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// awkward are labels or annotations that could be taken for something else on
// their way through the engine.
var awkward = map[string]string{
	"io.kubernetes.docker.type":         "not what it seems",
	"io.kubernetes.sandbox.id":          "0123",
	"io.kubernetes.container.logpath":   "/nowhere",
	"io.kubernetes.pod.name":            "another",
	"io.kubernetes.container.name":      "POD",
	"io.dockershimd.name":               "ours?",
	"io.dockershimd.keys":               "[]",
	"io.dockershimd.label.x":            "twice",
	"annotation.x":                      "a label all the same",
	imageLabel:                          "of the container",
	"kubernetes.io/config.source":       "api",
	"empty":                             "",
	"a key with spaces = and \"marks\"": "a value\nof two lines, ünïcode, and \x01",
}

// TestLabels: what comes out of statuses and lists is what went in, also after
// a restart, when it has been through the engine.
func TestLabels(t *testing.T) {
	n := newNode(t)
	annotations := maps.Clone(awkward)
	annotations["large"] = strings.Repeat("0123456789", 10<<10)
	p := n.pod(func(c *cri.PodSandboxConfig) {
		c.Labels, c.Annotations = awkward, annotations
		c.Metadata.Attempt = 7
	})
	c := p.container(idle, func(c *cri.ContainerConfig) {
		c.Labels, c.Annotations = awkward, annotations
		c.Metadata.Attempt = 3
	})
	bare := p.container(idle)
	for _, when := range []string{"at once", "after a restart"} {
		if when != "at once" {
			n.restart(syscall.SIGTERM)
		}
		n.sub(when, func(n *node) {
			n.wantLabels(p, c, annotations)
			if got := bare.in(n).status(); len(got.GetLabels())+len(got.GetAnnotations()) > 0 {
				n.Errorf("a container without labels has %v, %v", got.GetLabels(), got.GetAnnotations())
			}
		})
	}
}

func (n *node) wantLabels(p *pod, c *workload, annotations map[string]string) {
	n.Helper()
	podStatus, status := n.podStatus(p.id), c.in(n).status()
	listedPod, listed := n.listPods(&cri.PodSandboxFilter{Id: p.id})[0], n.listContainers(&cri.ContainerFilter{Id: c.id})[0]
	for where, got := range map[string]interface {
		GetLabels() map[string]string
		GetAnnotations() map[string]string
	}{"PodSandboxStatus": podStatus, "ListPodSandbox": listedPod, "ContainerStatus": status, "ListContainers": listed} {
		wantMap(n, where+" labels", got.GetLabels(), awkward)
		wantMap(n, where+" annotations", got.GetAnnotations(), annotations)
	}
	for where, got := range map[string]*cri.PodSandboxMetadata{"PodSandboxStatus": podStatus.GetMetadata(), "ListPodSandbox": listedPod.GetMetadata()} {
		if want := p.config.GetMetadata(); got.String() != want.String() {
			n.Errorf("%s metadata %v, want %v", where, got, want)
		}
	}
	for where, got := range map[string]*cri.ContainerMetadata{"ContainerStatus": status.GetMetadata(), "ListContainers": listed.GetMetadata()} {
		if got.GetAttempt() != 3 || !strings.HasPrefix(got.GetName(), "container") {
			n.Errorf("%s metadata %v", where, got)
		}
	}
}

// wantMap reports each entry that differs.
func wantMap(n *node, what string, got, want map[string]string) {
	n.Helper()
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			n.Errorf("%s: %q is %.40q, want %.40q", what, k, g, v)
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			n.Errorf("%s: %q=%.40q was not asked for", what, k, v)
		}
	}
}
