// SPDX-License-Identifier: Apache-2.0

// Package demo tests "make run" and "make stop". It needs the rig of
// test/engine/with-engine.sh, whose private namespaces make "nothing is left
// behind" something that can be listed.
package demo

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const dockerSocket = "/run/docker.sock"

func TestRunOnAnEngineThatIsUp(t *testing.T) {
	useRigEngine(t)
	bystander := startBystander(t)

	runTwiceAndStop(t)

	if state := engine(t, http.MethodGet, "/containers/"+bystander+"/json", ""); !strings.Contains(state, `"Running":true`) {
		t.Errorf("a container that is not the demo's was stopped: %s", state)
	}
}

func TestRunWithoutAnEngine(t *testing.T) {
	needRig(t)
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Fatal("the rig shows systemd, which this test must not talk to")
	}
	t.Setenv("PATH", os.Getenv("ENGINE_BIN")+":"+os.Getenv("PATH"))
	runTwiceAndStop(t)
}

// The pod's address and firewall rules can only be given back by a running
// dockershimd, so stop has to start it again.
func TestStopAfterDockershimdDied(t *testing.T) {
	useRigEngine(t)
	before := inventory(t)
	mustDemo(t, "run")
	pid, err := os.ReadFile("/run/dockershimd-demo/dockershimd.pid")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("kill", "-KILL", strings.TrimSpace(string(pid))).CombinedOutput(); err != nil {
		t.Fatalf("kill dockershimd: %v %s", err, out)
	}
	mustDemo(t, "stop")
	sameInventory(t, before)
}

func TestRunRefusesASocketInUse(t *testing.T) {
	needRig(t)
	other, err := net.Listen("unix", "/run/cri-dockerd.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	out, err := demo("run")
	if err == nil || !strings.Contains(out, "already serves /run/cri-dockerd.sock") {
		t.Errorf("err %v, output:\n%s", err, out)
	}
}

// runTwiceAndStop also stops twice: either may be repeated.
func runTwiceAndStop(t *testing.T) {
	t.Helper()
	before := inventory(t)
	t.Cleanup(func() { demo("stop") })
	for range 2 {
		out := mustDemo(t, "run")
		for _, want := range []string{
			`sample +default`,                // crictl pods
			`Running +web .*sample +default`, // crictl ps
			`Running +caller .*sample +default`,
			`address 10\.[0-9.]+\. Its web server says there:\n  Hello from a pod`,
			`localhost says: Hello from a pod`,
			`make stop`,
		} {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("no %q in the output of run:\n%s", want, out)
			}
		}
	}
	mustDemo(t, "stop")
	mustDemo(t, "stop")
	sameInventory(t, before)
}

func sameInventory(t *testing.T, before []string) {
	t.Helper()
	after := inventory(t)
	for _, line := range after {
		if !slices.Contains(before, line) {
			t.Errorf("left behind: %s", line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("gone, though it was there before: %s", line)
		}
	}
}

// inventory lists what this rig holds: files, mounts, links, firewall rules,
// cgroups, processes, containers and images.
func inventory(t *testing.T) []string {
	t.Helper()
	script := `
		find /run "$RIG_DIR/var-lib" -printf 'file %p\n'
		awk '{ print "mount", $2 }' /proc/self/mounts
		ip -o link | awk '{ print "link", $2 }'
		iptables-save | grep -E '^(-A|:CNI)' | sed 's/^/firewall /'
		find /sys/fs/cgroup -path "*$RIG_CGROUP/dockershimd-demo*" -type d -printf 'cgroup %p\n'
		sed 's/^/ip_forward /' /proc/sys/net/ipv4/ip_forward
		cat /proc/[0-9]*/comm | grep -E 'docker|containerd' | sed 's/^/process /'`
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	if err != nil && !strings.Contains(err.Error(), "exit status 1") { // the last grep, when it finds nothing
		t.Fatalf("take inventory: %v\n%s", err, out)
	}
	lines := strings.Split(string(out), "\n")
	if _, err := os.Stat(dockerSocket); err == nil {
		lines = append(lines, "containers "+ids(engine(t, http.MethodGet, "/containers/json?all=1", "")))
		lines = append(lines, "images "+ids(engine(t, http.MethodGet, "/images/json", "")))
	}
	return lines
}

func ids(list string) string {
	return strings.Join(regexp.MustCompile(`"Id":"[^"]+"`).FindAllString(list, -1), " ")
}

// startBystander runs a container of somebody else's and returns its id.
func startBystander(t *testing.T) string {
	t.Helper()
	if out, err := exec.Command("../sample/image.sh", dockerSocket).CombinedOutput(); err != nil {
		t.Fatalf("make an image: %v\n%s", err, out)
	}
	engine(t, http.MethodPost, "/images/localhost/dockershimd-sample:latest/tag?repo=localhost/bystander&tag=latest", "")
	engine(t, http.MethodDelete, "/images/localhost/dockershimd-sample:latest", "")
	created := engine(t, http.MethodPost, "/containers/create?name=bystander",
		`{"Image": "localhost/bystander:latest", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}`)
	engine(t, http.MethodPost, "/containers/bystander/start", "")
	t.Cleanup(func() { engine(t, http.MethodDelete, "/containers/bystander?force=1", "") })
	return regexp.MustCompile(`[0-9a-f]{64}`).FindString(created)
}

// engine makes one call and returns the answer.
func engine(t *testing.T, method, path, body string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", dockerSocket)
		},
	}}
	request, err := http.NewRequest(method, "http://engine"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s %v", method, path, response.Status, answer, err)
	}
	return string(answer)
}

// useRigEngine shows the rig's engine where a node has its own.
func useRigEngine(t *testing.T) {
	t.Helper()
	needRig(t)
	if err := os.Symlink(strings.TrimPrefix(os.Getenv("ENGINE_HOST"), "unix://"), dockerSocket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dockerSocket) })
}

func needRig(t *testing.T) {
	t.Helper()
	if os.Getenv("RIG_DIR") == "" {
		t.Skip("needs the rig of test/engine/with-engine.sh: make engine")
	}
}

func mustDemo(t *testing.T, verb string) string {
	t.Helper()
	out, err := demo(verb)
	if err != nil {
		log, _ := os.ReadFile("/run/dockershimd-demo/dockershimd.log")
		t.Fatalf("demo.sh %s: %v\n%s\n%s", verb, err, out, log)
	}
	return out
}

// demo runs demo.sh. Its output goes through a file: a pipe would be held open
// by the processes that it leaves running.
func demo(verb string) (string, error) {
	file := filepath.Join(os.Getenv("RIG_DIR"), "demo-"+verb+".log")
	out, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer out.Close()
	command := exec.Command("./demo.sh", verb)
	command.Stdout, command.Stderr = out, out
	err = command.Run()
	text, readErr := os.ReadFile(file)
	if readErr != nil {
		return "", readErr
	}
	return string(text), err
}
