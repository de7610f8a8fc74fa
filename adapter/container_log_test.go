// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/internal/fakeengine"
	"github.com/dockershimd/dockershimd/logs"
)

// logged is a pod and a container with a log path.
func logged(t *testing.T) (*cri.PodSandboxConfig, *cri.ContainerConfig, string) {
	t.Helper()
	pod, c := podConfig("web"), containerConfig("app")
	pod.LogDirectory = filepath.Join(t.TempDir(), "default_web_uid-web")
	c.LogPath = "app/0.log"
	return pod, c, filepath.Join(pod.LogDirectory, c.LogPath)
}

// verboseLog is what the verbose status says of a container's log.
func (r *rig) verboseLog(id string) map[string]string {
	r.t.Helper()
	out, err := r.ContainerStatus(r.t.Context(), &cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		r.t.Fatal(err)
	}
	var info struct{ Log map[string]string }
	if err := json.Unmarshal([]byte(out.Info["info"]), &info); err != nil {
		r.t.Fatal(err)
	}
	return info.Log
}

func (r *rig) reopen(id string) error {
	_, err := r.ReopenContainerLog(r.t.Context(), &cri.ReopenContainerLogRequest{ContainerId: id})
	return err
}

func TestLogLife(t *testing.T) {
	r := newRig(t).watched()
	pod, c, path := logged(t)
	_, id := r.runContainer(pod, c)
	if got, want := r.carrier.followed(id), (logs.Container{ID: id, Spool: r.engineLog(id), Path: path}); got != want {
		t.Errorf("followed is %+v, want %+v", got, want)
	}
	if s := r.containerStatus(id); s.LogPath != path || r.verboseLog(id)["format"] != "cri" {
		t.Errorf("log path %q, %v", s.LogPath, r.verboseLog(id))
	}
	if err := r.reopen(id); err != nil || !slices.Contains(r.carrier.done(), "Reopen "+id) {
		t.Errorf("done is %v, %v", r.carrier.done(), err)
	}
	r.engine.Exit(id, 0)
	r.eventually("the end", func() bool { return r.containerStatus(id).State == cri.ContainerState_CONTAINER_EXITED })
	if !slices.Contains(r.carrier.done(), "Finish "+id) {
		t.Error("the end is shown before the log is complete")
	}
	wantKind(t, r.reopen(id), errdefs.IsFailedPrecondition)
	if _, err := r.RemoveContainer(t.Context(), &cri.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(r.carrier.done(), "Remove "+id) {
		t.Error("the position in its log stays")
	}
}

// TestEndWaitsForLog: of one container only, and the news of others do not wait.
func TestEndWaitsForLog(t *testing.T) {
	r := newRig(t)
	r.carrier.finish = make(chan struct{})
	r = r.watched()
	pod, c, _ := logged(t)
	_, slow := r.runContainer(pod, c)
	_, other := r.runContainer(podConfig("other"), containerConfig("other"))
	r.engine.Exit(slow, 0)
	r.engine.Exit(other, 0)
	r.eventually("the other's end", func() bool { return r.containerStatus(other).State == cri.ContainerState_CONTAINER_EXITED })
	if s := r.containerStatus(slow); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("state %s before its log is complete", s.State)
	}
	close(r.carrier.finish)
	r.eventually("the end", func() bool { return r.containerStatus(slow).State == cri.ContainerState_CONTAINER_EXITED })
}

// TestManyEndsWaitTogether: after a restart with a full disk, say.
func TestManyEndsWaitTogether(t *testing.T) {
	const containers = 3 * compareAtOnce
	r := newRig(t)
	ids := make([]string, containers)
	for i := range ids {
		pod, c, _ := logged(t)
		pod.Metadata.Uid = fmt.Sprint("uid", i)
		_, ids[i] = r.runContainer(pod, c)
		r.engine.Exit(ids[i], 0)
	}
	r.carrier.finish = make(chan struct{})
	compared := make(chan error, 1)
	go func() { compared <- r.compare(t.Context(), true) }()
	r.eventually("all are waited for", func() bool { return r.carrier.waiting.Load() == containers })
	close(r.carrier.finish)
	if err := <-compared; err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if s := r.containerStatus(id); s.State != cri.ContainerState_CONTAINER_EXITED {
			t.Errorf("state %s after the comparison", s.State)
		}
	}
}

func TestLogInTheWay(t *testing.T) {
	r := newRig(t)
	r.carrier.refuse = errdefs.ErrFailedPrecondition
	pod, c, _ := logged(t)
	id := r.createContainer(r.runPod(pod), pod, c)
	_, err := r.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: id})
	wantKind(t, err, errdefs.IsFailedPrecondition)
	if r.engine.Count("ContainerStart") != 1 { // the sandbox's
		t.Error("it was started all the same")
	}
}

// TestFailedStartIsNotFollowed: nothing will ever be written.
func TestFailedStartIsNotFollowed(t *testing.T) {
	r := newRig(t)
	pod, c, _ := logged(t)
	id := r.createContainer(r.runPod(pod), pod, c)
	r.engine.ResetCalls()
	r.engine.FailNth(1, fakeengine.Before, errdefs.ErrInvalidArgument)
	if _, err := r.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: id}); err == nil {
		t.Error("no error")
	}
	if ids := r.carrier.ids(); len(ids) > 0 {
		t.Errorf("followed are %v", ids)
	}
}

func TestNoLogPath(t *testing.T) {
	r := newRig(t)
	_, id := r.runContainer(podConfig("web"), containerConfig("app"))
	if err := r.reopen(id); err != nil || len(r.carrier.ids()) > 0 || len(r.carrier.done()) > 0 {
		t.Errorf("%v, followed %v, done %v", err, r.carrier.ids(), r.carrier.done())
	}
	wantKind(t, r.reopen("absent"), errdefs.IsNotFound)
}

func TestLogLink(t *testing.T) {
	r := newRig(t)
	r.config.Logs.Linked = true
	pod, c, link := logged(t)
	_, id := r.runContainer(pod, c)
	if target, err := os.Readlink(link); err != nil || target != r.engineLog(id) {
		t.Errorf("link to %q: %v", target, err)
	}
	if len(r.carrier.ids()) > 0 {
		t.Error("it is followed")
	}
	if s := r.containerStatus(id); s.LogPath != link {
		t.Errorf("log path %q", s.LogPath)
	}
	if _, err := r.RemoveContainer(t.Context(), &cri.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(link); !os.IsNotExist(err) {
		t.Errorf("the link is left: %v", err)
	}
}

// TestReopenLinkedLog: the kubelet has renamed the link.
func TestReopenLinkedLog(t *testing.T) {
	for name, test := range map[string]struct {
		size    string
		format  string
		rotated bool
	}{
		"engine rotates": {"32m", "json-file, linked; rotated by the engine", false},
		"it only grows":  {"", "json-file, linked; rotated by copying and truncating it", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.config.Logs.Linked, r.config.Logs.SpoolSize, r.config.Logs.SpoolFiles = true, test.size, 3
			pod, c, link := logged(t)
			_, id := r.runContainer(pod, c)
			spool, renamed := r.engineLog(id), link+".20260102-150405"
			if err := os.MkdirAll(filepath.Dir(spool), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(spool, []byte("old\n"), 0o640); err != nil {
				t.Fatal(err)
			}
			if got := r.verboseLog(id)["format"]; got != test.format {
				t.Errorf("verbose status says %q", got)
			}
			if err := os.Rename(link, renamed); err != nil {
				t.Fatal(err)
			}
			if err := r.reopen(id); err != nil {
				t.Fatal(err)
			}
			if target, err := os.Readlink(link); err != nil || target != spool {
				t.Errorf("link to %q: %v", target, err)
			}
			old, err := os.ReadFile(renamed)
			if rotated := err == nil && string(old) == "old\n"; rotated != test.rotated {
				t.Errorf("renamed is %q, %v", old, err)
			}
			if now, err := os.ReadFile(spool); err != nil || len(now) == 0 != test.rotated {
				t.Errorf("Docker's file has %q, %v", now, err)
			}
		})
	}
}

func TestLogLinkLeavesFilesAlone(t *testing.T) {
	r := newRig(t)
	r.config.Logs.Linked = true
	pod, c, file := logged(t)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	id := r.createContainer(r.runPod(pod), pod, c)
	_, err := r.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: id})
	wantKind(t, err, errdefs.IsFailedPrecondition)
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file is now %q", b)
	}
}
