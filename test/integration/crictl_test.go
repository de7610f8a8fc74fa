// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestCrictlNode asks about the node by hand.
func TestCrictlNode(t *testing.T) {
	n := newNode(t)
	if out := n.crictl("version"); !strings.Contains(out, "RuntimeName:  docker\n") || !strings.Contains(out, os.Getenv("ENGINE_VERSION")) {
		t.Errorf("version says\n%s", out)
	}
	var info struct {
		Status struct{ Conditions []condition }
		Engine struct{ Version, Endpoint string }
	}
	n.crictlJSON(&info, "info")
	want := []condition{{Type: cri.RuntimeReady, Status: true}, {Type: cri.NetworkReady, Status: true}}
	if fmt.Sprint(info.Status.Conditions) != fmt.Sprint(want) || info.Engine.Endpoint != os.Getenv("ENGINE_HOST") {
		t.Errorf("info says %+v", info)
	}
	if out := n.crictl("images"); !strings.Contains(out, strings.TrimSuffix(busybox, ":latest")) {
		t.Errorf("images says\n%s", out)
	}
	if out, err := n.tryCrictl("pull", "127.0.0.1:1/nothing:1"); err == nil {
		t.Errorf("pull from a registry that is not there: %s", out)
	}
}

// condition is one of crictl info.
type condition struct {
	Type   string
	Status bool
}

// TestCrictlPod goes through a pod's life by hand.
func TestCrictlPod(t *testing.T) {
	n := newNode(t)
	pod := &pod{node: n, config: n.podConfig(func(c *cri.PodSandboxConfig) { c.Labels = map[string]string{"app": "by-hand"} })}
	config := pod.containerConfig("echo a line; " + idle)
	podFile, containerFile := n.protoFile(pod.config), n.protoFile(config)

	pod.id = n.crictlID("runp", podFile)
	if ids := n.crictl("pods", "-q", "--label", "app=by-hand", "--state", "ready"); strings.TrimSpace(ids) != pod.id {
		t.Errorf("pods says %q, want %s", ids, pod.id)
	}
	id := n.crictlID("create", pod.id, containerFile, podFile)
	n.wantPS("CREATED", id)
	n.crictl("start", id)
	n.wantPS("RUNNING", id)
	c := &workload{pod: pod, id: id}
	c.awaitLog("a line\n")
	if out := n.crictl("logs", id); out != "a line\n" {
		t.Errorf("logs says %q", out)
	}
	n.inspectByHand(pod, c)

	n.crictl("stop", "--timeout", "5", id)
	n.wantPS("EXITED", id)
	n.crictl("rm", id)
	n.wantPS("", "")
	n.crictl("stopp", pod.id)
	if ids := n.crictl("pods", "-q", "--state", "notready"); strings.TrimSpace(ids) != pod.id {
		t.Errorf("pods says %q after stopp", ids)
	}
	n.crictl("rmp", pod.id)
	if ids := n.crictl("pods", "-q"); ids != "" {
		t.Errorf("pods says %q after rmp", ids)
	}
}

// inspectByHand compares inspect and inspectp with what the engine knows.
func (n *node) inspectByHand(p *pod, c *workload) {
	n.Helper()
	var pod struct {
		Status struct {
			ID, State string
			Network   struct{ IP string }
		}
		Info struct{ PID int }
	}
	n.crictlJSON(&pod, "inspectp", p.id)
	if pid := n.engine.inspect(n, p.id).State.Pid; pod.Info.PID != pid || pod.Status.State != "SANDBOX_READY" || pod.Status.Network.IP != p.address() {
		n.Errorf("inspectp says %+v, and the engine pid %d", pod, pid)
	}
	var container struct {
		Status struct{ ID, State, LogPath string }
		Info   struct{ SandboxID string }
	}
	n.crictlJSON(&container, "inspect", c.id)
	if container.Status.ID != c.id || container.Status.State != "CONTAINER_RUNNING" || container.Info.SandboxID != p.id {
		n.Errorf("inspect says %+v", container)
	}
}

// wantPS checks the one container that crictl shows; none without an id.
func (n *node) wantPS(state, id string) {
	n.Helper()
	var list struct{ Containers []struct{ ID, State string } }
	n.crictlJSON(&list, "ps", "-a")
	var got, want string
	for _, c := range list.Containers {
		got += c.State + " " + c.ID
	}
	if id != "" {
		want = "CONTAINER_" + state + " " + id
	}
	if got != want {
		n.Errorf("ps says %q, want %q", got, want)
	}
}

// crictl runs crictl and returns its output.
func (n *node) crictl(args ...string) string {
	n.Helper()
	out, err := n.tryCrictl(args...)
	n.must("crictl "+strings.Join(args, " "), err)
	return out
}

func (n *node) tryCrictl(args ...string) (string, error) {
	n.Helper()
	endpoint := "unix://" + n.socket
	command := exec.Command(program(n.T, "CRICTL", "crictl"), append([]string{"-r", endpoint, "-i", endpoint}, args...)...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		err = errors.Join(err, errors.New(stderr.String()))
	}
	return string(out), err
}

// crictlID is crictl when it answers with an id.
func (n *node) crictlID(args ...string) string {
	n.Helper()
	return strings.TrimSpace(n.crictl(args...))
}

// crictlJSON reads the JSON that a verb of crictl writes.
func (n *node) crictlJSON(v any, verb string, args ...string) {
	n.Helper()
	out := n.crictl(append([]string{verb, "-o", "json"}, args...)...)
	n.must("read crictl's answer "+out, json.Unmarshal([]byte(out), v))
}

// protoFile writes a message as crictl reads it.
func (n *node) protoFile(m proto.Message) string {
	n.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true, UseEnumNumbers: true}.Marshal(m)
	n.must("write a message", err)
	file := filepath.Join(n.TempDir(), "message.json")
	n.must("write a message", os.WriteFile(file, text, 0o600))
	return file
}
