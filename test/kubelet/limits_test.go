// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What Kubernetes allows at most.
const (
	longestName        = 253        // of a pod: a DNS subdomain
	longestLabel       = 63         // of a container, a namespace, a label's value
	mostAnnotations    = 256 * 1024 // bytes of one object's
	mostArgumentOfExec = 128 * 1024 // the kernel's, with its end (execve(2))
)

// subdomain is a DNS name of a length.
func subdomain(length int) string {
	name := strings.Repeat(strings.Repeat("a", longestLabel)+".", length/(longestLabel+1)+1)[:length]
	return strings.TrimSuffix(name, ".") + strings.Repeat("b", length-len(strings.TrimSuffix(name, ".")))
}

// label is a DNS label of a length that is unlike others.
func label(length int) string {
	name := unique("n")
	return name + strings.Repeat("x", length-len(name))
}

// qualified is the longest key of a label or an annotation.
func qualified() string { return subdomain(longestName) + "/" + strings.Repeat("K", longestLabel) }

// TestLongestNames takes a pod through its life whose every name is as long as
// Kubernetes allows.
func TestLongestNames(t *testing.T) {
	k := newKubelet(t)
	// The kubelet's own folder for the logs of such a pod would be longer than a
	// file's name can be, so this one is shorter.
	p := k.pod(func(c *cri.PodSandboxConfig) {
		c.Metadata = &cri.PodSandboxMetadata{
			Name: subdomain(longestName), Namespace: label(longestLabel), Uid: "01234567-89ab-cdef-0123-456789abcdef", Attempt: 1<<32 - 1,
		}
		c.Hostname = strings.Repeat("h", longestLabel)
		c.Labels = map[string]string{qualified(): strings.Repeat("v", longestLabel), "empty": ""}
	})
	c := p.container(idle, func(c *cri.ContainerConfig) {
		c.Metadata = &cri.ContainerMetadata{Name: label(longestLabel), Attempt: 1<<32 - 1}
		c.LogPath = filepath.Join(c.Metadata.Name, strings.Repeat("l", 251)+".log")
		c.Labels = maps.Clone(p.config.GetLabels())
	})
	k.must("the status of the pod", samePod(p.config, p.status()))
	k.must("the status of the container", sameContainer(c.config, c.status()))
	if got := c.exec("hostname"); got != p.config.GetHostname()+"\n" {
		k.Errorf("the host name is %q", got)
	}
	pods := k.listPods(&cri.PodSandboxFilter{LabelSelector: p.config.GetLabels()})
	if len(pods) != 1 || !proto.Equal(pods[0].GetMetadata(), p.config.GetMetadata()) || !maps.Equal(pods[0].GetLabels(), p.config.GetLabels()) {
		k.Errorf("the list of pods says %v", pods)
	}
	containers := k.listContainers(&cri.ContainerFilter{LabelSelector: c.config.GetLabels()})
	if len(containers) != 1 || !proto.Equal(containers[0].GetMetadata(), c.config.GetMetadata()) || !maps.Equal(containers[0].GetLabels(), c.config.GetLabels()) {
		k.Errorf("the list of containers says %v", containers)
	}
	if _, err := os.Stat(filepath.Join(p.config.GetLogDirectory(), c.config.GetLogPath())); err != nil {
		k.Error(err)
	}
}

// TestMostAnnotations: as many bytes as Kubernetes allows, of every kind.
func TestMostAnnotations(t *testing.T) {
	k := newKubelet(t)
	annotations := map[string]string{
		qualified(): "a key at its limit", "empty": "", "lines": "one\ntwo\r\nthree\n", "quotes": `"'\{}$(id)%s`,
		"unicode": "ünï – 日本語 – 🐳 – \u202egnirts", "json": `{"a": ["b", {"c": null}], "d": "\u0000"}`, "io.kubernetes.pod.uid": "not the real one",
		"io.kubernetes.container.hash": "deadbeef", "label.like": "annotation.like", "annotation.prefix": "x",
	}
	size := 0
	for key, v := range annotations {
		size += len(key) + len(v)
	}
	annotations["long"] = strings.Repeat("x", mostAnnotations-size-len("long"))
	p := k.pod(func(c *cri.PodSandboxConfig) { c.Annotations = annotations })
	c := p.container(idle, func(c *cri.ContainerConfig) { c.Annotations = annotations })
	k.must("the status of the pod", samePod(p.config, p.status()))
	k.must("the status of the container", sameContainer(c.config, c.status()))
	pods, containers := k.listPods(&cri.PodSandboxFilter{Id: p.id}), k.listContainers(&cri.ContainerFilter{Id: c.id})
	if len(pods) != 1 || !maps.Equal(pods[0].GetAnnotations(), annotations) || len(pods[0].GetLabels()) > 0 {
		k.Error("the list of pods has other annotations, or labels")
	}
	if len(containers) != 1 || !maps.Equal(containers[0].GetAnnotations(), annotations) || len(containers[0].GetLabels()) > 0 {
		k.Error("the list of containers has other annotations, or labels")
	}
}

// TestHostNameLimits: the kernel has room for 64 bytes.
func TestHostNameLimits(t *testing.T) {
	k := newKubelet(t)
	name := strings.Repeat("h", 64)
	if got := k.pod(func(c *cri.PodSandboxConfig) { c.Hostname = name }).container(idle).exec("hostname"); got != name+"\n" {
		k.Errorf("the name is %q", got)
	}
	_, err := k.tryPod("", podConfig(k.TempDir(), func(c *cri.PodSandboxConfig) { c.Hostname = name + "h" }))
	k.wantRefusal(err, "hostname")
}

// TestLongestArguments: variables and arguments as long as the kernel takes
// them, and as many as a pod with thousands of services has.
func TestLongestArguments(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	long := strings.Repeat("x", mostArgumentOfExec-1-len("LONG="))
	c := p.container(idle, func(c *cri.ContainerConfig) {
		c.Args = append(c.Args, long)
		c.Envs = []*cri.KeyValue{{Key: "LONG", Value: []byte(long)}}
		for i := range 3000 {
			c.Envs = append(c.Envs, &cri.KeyValue{Key: fmt.Sprintf("SERVICE_%d_PORT", i), Value: []byte("tcp://10.96.0.1:443")})
		}
	})
	environment := c.proc("environ")
	if !strings.Contains(environment, "LONG="+long+"\x00") || strings.Count(environment, "SERVICE_") != 3000 {
		k.Errorf("%d bytes of variables, %d of services", len(environment), strings.Count(environment, "SERVICE_"))
	}
	if !strings.HasSuffix(c.proc("cmdline"), "\x00"+long+"\x00") {
		k.Error("the argument is another")
	}
	// One byte more is the kernel's to refuse, at a moment when the start may have
	// been answered already.
	c = p.create(idle, func(c *cri.ContainerConfig) { c.Envs = []*cri.KeyValue{{Key: "LONG", Value: []byte(long + "x")}} })
	if err := c.start(); err == nil {
		if ended := c.awaitExit(); ended.GetExitCode() == 0 || ended.GetReason() == "Completed" {
			k.Errorf("with a variable that is too long it ended with %d, %s", ended.GetExitCode(), ended.GetReason())
		}
	} else if !strings.Contains(err.Error(), "argument list too long") {
		k.Errorf("a variable that is too long: %v", err)
	}
}

// TestHundredMounts is a pod with many volumes.
func TestHundredMounts(t *testing.T) {
	k := newKubelet(t)
	var asked []*cri.Mount
	dir := k.folder()
	for i := range 100 {
		asked = append(asked, &cri.Mount{HostPath: dir, ContainerPath: fmt.Sprintf("/volumes/%03d", i), Readonly: i%2 == 0})
	}
	c := k.pod().container(idle, mounted(asked...))
	c.wantMounts(asked...)
	if got := strings.Count(c.exec("cat", "/proc/self/mountinfo"), " /volumes/"); got != 100 {
		k.Errorf("%d are mounted", got)
	}
}
