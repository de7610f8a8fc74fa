// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// inventory counts all that pods leave traces in, by a line for each.
type inventory map[string]int

// keepBalance compares what there is when the test ends, after its pods are
// removed, with what there is now.
func (k *kubelet) keepBalance() {
	k.Helper()
	before, err := k.inventory(k.Context())
	k.must("look around", err)
	k.Cleanup(func() {
		if err := k.leftBehind(context.Background(), before); err != nil {
			k.Error(err)
		}
	})
}

// leftBehind waits until nothing is there that was not before: the kernel takes
// a moment to remove links and namespaces.
func (c *client) leftBehind(ctx context.Context, before inventory) (problem error) {
	soon(func() bool {
		now, err := c.inventory(ctx)
		problem = errors.Join(err, before.compare(now))
		return problem == nil
	})
	return problem
}

// compare names what is there now and was not before, and the reverse.
func (before inventory) compare(now inventory) error {
	var problems []error
	for line, count := range now {
		if more := count - before[line]; more > 0 {
			problems = append(problems, fmt.Errorf("left behind, %d times: %s", more, line))
		}
	}
	for line, count := range before {
		if less := count - now[line]; less > 0 {
			problems = append(problems, fmt.Errorf("gone, %d times: %s", less, line))
		}
	}
	return errors.Join(problems...)
}

func (c *client) inventory(ctx context.Context) (inventory, error) {
	found := inventory{}
	errs := []error{c.countObjects(ctx, found), countMounts(found), countLinks(found), countLeases(found)}
	for _, save := range []string{"iptables-save", "ip6tables-save"} {
		errs = append(errs, countRules(found, save))
	}
	return found, errors.Join(errs...)
}

func (c *client) countObjects(ctx context.Context, found inventory) error {
	pods, err := c.runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	for _, p := range pods.GetItems() {
		found["sandbox "+p.GetId()+" "+p.GetMetadata().GetName()]++
	}
	containers, err := c.runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return err
	}
	for _, container := range containers.GetContainers() {
		found["container "+container.GetId()+" "+container.GetMetadata().GetName()]++
	}
	return nil
}

func countMounts(found inventory) error {
	points, err := mountPoints()
	for _, point := range points {
		found["mount "+point]++
	}
	return err
}

// mountPoints are those of the test's own namespace.
func mountPoints() (points []string, err error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		points = append(points, strings.Fields(line)[4])
	}
	return points, err
}

func countLinks(found inventory) error {
	links, err := net.Interfaces()
	for _, link := range links {
		found["link "+link.Name]++
	}
	return err
}

// countLeases counts the addresses that the plugin host-local has given out.
func countLeases(found inventory) error {
	files, err := filepath.Glob("/var/lib/cni/networks/*/*")
	for _, file := range files {
		if net.ParseIP(filepath.Base(file)) != nil {
			found["lease "+file]++
		}
	}
	return err
}

// podRule matches the rules that are for one pod: by its address, or in a chain
// that has the name of its id. What all pods share stays for the next one.
var podRule = regexp.MustCompile(`CNI-[0-9a-f]{24}|CNI-(DN|SN)-|-[sd] [0-9a-f.:]+/(32|128) `)

// countRules counts the rules of a firewall, where its program is.
func countRules(found inventory, save string) error {
	if _, err := exec.LookPath(save); err != nil {
		return nil
	}
	out, err := exec.Command(save).Output()
	if err != nil {
		return fmt.Errorf("%s: %w", save, err)
	}
	for line := range strings.Lines(string(out)) {
		// The chains' counters change.
		if line, _, _ = strings.Cut(line, " ["); podRule.MatchString(line) {
			found[save+" "+strings.TrimSpace(line)]++
		}
	}
	return nil
}

// firstPods runs a pod in a network of its own and one in the node's, and
// removes them. The first has what a runtime may have to prepare the node for.
func (c *client) firstPods(ctx context.Context) error {
	logs, err := os.MkdirTemp("", "kubelet-suite")
	if err != nil {
		return err
	}
	defer os.RemoveAll(logs)
	status, err := c.runtime.Status(ctx, &cri.StatusRequest{})
	if err != nil {
		return err
	}
	mapped := podConfig(logs, func(p *cri.PodSandboxConfig) {
		p.PortMappings = []*cri.PortMapping{{ContainerPort: 80, HostPort: 18000}, {ContainerPort: 80, HostPort: 18000, Protocol: cri.Protocol_UDP}}
	})
	first := containerConfig(mapped, idle)
	if status.GetFeatures().GetMountOptions() {
		mounted(&cri.Mount{HostPath: logs, ContainerPath: "/mnt", MountOptions: []string{"noexec"}})(first)
	}
	node := podConfig(logs, onHostNetwork)
	return errors.Join(c.onePod(ctx, mapped, first), c.onePod(ctx, node, containerConfig(node, idle)))
}

// onePod takes a pod through its life.
func (c *client) onePod(ctx context.Context, config *cri.PodSandboxConfig, container *cri.ContainerConfig) (err error) {
	log := filepath.Join(config.GetLogDirectory(), container.GetLogPath())
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	p, err := c.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.removePod(context.WithoutCancel(ctx), p.GetPodSandboxId())) }()
	created, err := c.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: p.GetPodSandboxId(), Config: container, SandboxConfig: config})
	if err != nil {
		return err
	}
	_, err = c.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: created.GetContainerId()})
	return err
}

// takes reports how long something took.
func takes(what func()) time.Duration {
	start := time.Now()
	what()
	return time.Since(start)
}
