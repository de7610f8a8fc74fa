// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/dockershimd/dockershimd/network"
	"github.com/dockershimd/dockershimd/translate"
)

// RunPodSandbox starts a pause container and attaches it to the pod network.
// Repeated for a sandbox that is ready, it answers with that one; whatever an
// attempt that was cut off has left behind, it replaces.
func (s *Server) RunPodSandbox(ctx context.Context, r *cri.RunPodSandboxRequest) (_ *cri.RunPodSandboxResponse, err error) {
	body, err := s.sandboxBody(ctx, r)
	if err != nil {
		return nil, err
	}
	unlock, err := s.pods.lock(ctx, keyOf(r.GetConfig().GetMetadata()))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if id, err := s.earlierSandbox(ctx, body); id != "" || err != nil {
		return &cri.RunPodSandboxResponse{PodSandboxId: id}, err
	}

	var u undo
	defer u.onError(ctx, &err)
	defer s.index.expect(body.Name)()
	id, err := s.create(ctx, body)
	if err != nil {
		return nil, fmt.Errorf("create sandbox: %w", err)
	}
	u.add("remove sandbox", func(ctx context.Context) error { return s.removeObject(ctx, id) })
	if err = s.engine.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return nil, fmt.Errorf("start sandbox %s: %w", id, err)
	}
	asked := time.Now()
	pause, err := s.engine.ContainerInspect(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("inspect sandbox %s: %w", id, err)
	}
	if !translate.Running(pause) {
		return nil, fmt.Errorf("sandbox %s: its pause process ended at once, with exit code %d: %w", id, pause.State.ExitCode, errdefs.ErrAborted)
	}
	if err = s.writeResolvConf(pause.ResolvConfPath, r.GetConfig().GetDnsConfig()); err != nil {
		return nil, err
	}
	var addresses []string
	if !translate.HostNetwork(pause) {
		u.add("detach sandbox", func(ctx context.Context) error { return s.network.Detach(ctx, id) })
		if addresses, err = s.network.Attach(ctx, networkPod(pause, r.GetConfig())); err != nil {
			return nil, err
		}
	}
	s.index.put(pause, asked, func(container.InspectResponse) []string { return addresses })
	s.index.setAddresses(id, addresses)
	return &cri.RunPodSandboxResponse{PodSandboxId: id}, nil
}

// sandboxBody checks the request and finds out what its translation needs.
func (s *Server) sandboxBody(ctx context.Context, r *cri.RunPodSandboxRequest) (translate.Body, error) {
	n := s.node.Load()
	profiles, err := readProfiles(r.GetConfig().GetLinux().GetSecurityContext(), "")
	if err != nil {
		return translate.Body{}, err
	}
	sandbox := translate.Sandbox{Config: r.GetConfig(), Handler: r.GetRuntimeHandler(), Profiles: profiles}
	// Once for the checks, since a bad request is no reason to pull an image.
	if _, _, err := translate.SandboxBody(n.Facts, sandbox); err != nil {
		return translate.Body{}, err
	}
	if sandbox.PauseImage, err = s.pauseImage(ctx); err != nil {
		return translate.Body{}, err
	}
	body, notices, err := translate.SandboxBody(n.Facts, sandbox)
	logNotices(ctx, notices)
	return body, err
}

// logNotices tells an operator who looks closer what could not be honoured.
func logNotices(ctx context.Context, notices []translate.Notice) {
	for _, n := range notices {
		klog.FromContext(ctx).V(3).Info("not honoured to the letter", "field", n.Field, "what", n.Text)
	}
}

// earlierSandbox deals with a sandbox that an earlier request of the same name
// has made: the same request gets the same answer, a dead one is removed.
func (s *Server) earlierSandbox(ctx context.Context, body translate.Body) (id string, err error) {
	old := s.index.sandboxNamed(body.Name)
	switch {
	case old == nil:
		return "", nil
	case !old.ready():
		return "", s.removeSandbox(ctx, old)
	case translate.Fingerprint(old.inspect.Config.Labels) != translate.Fingerprint(body.Config.Labels):
		return "", fmt.Errorf("sandbox %s of this name and attempt runs with another configuration; stop and remove it first: %w", old.id(), errdefs.ErrAlreadyExists)
	}
	return old.id(), nil
}

// create makes a container, or leaves nothing. A container of ours that holds
// the name, because an attempt was cut off before the index could know of it,
// gives way; anybody else's does not.
func (s *Server) create(ctx context.Context, body translate.Body) (id string, err error) {
	var u undo
	defer u.onError(ctx, &err)
	u.add("remove what was created", func(ctx context.Context) error { return s.removeCreated(ctx, body) })
	for tries := 0; ; tries++ {
		created, err := s.engine.ContainerCreate(ctx, body.Config, body.Host, nil, nil, body.Name)
		if err == nil {
			return created.ID, nil
		}
		if !errdefs.IsConflict(err) || tries > 0 {
			return "", err
		}
		if err := s.clearName(ctx, body); err != nil {
			return "", err
		}
	}
}

// clearName removes the leftover of an earlier attempt that holds a name.
func (s *Server) clearName(ctx context.Context, body translate.Body) error {
	asked := time.Now()
	holder, err := s.engine.ContainerInspect(ctx, body.Name)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("inspect container %s: %w", body.Name, err)
	}
	labels := holder.Config.Labels
	if !translate.IsSandbox(labels) && !translate.IsContainer(labels) {
		return fmt.Errorf("the name %s is taken by container %s, which is not dockershimd's; remove or rename it: %w", body.Name, holder.ID, errdefs.ErrAlreadyExists)
	}
	s.index.put(holder, asked, s.addressesOf)
	if sb, err := s.index.sandbox(holder.ID); err == nil && !sb.ready() {
		return s.removeSandbox(ctx, sb)
	}
	if translate.Running(holder) {
		return fmt.Errorf("the name %s is taken by container %s, which runs; stop and remove it first: %w", body.Name, holder.ID, errdefs.ErrAlreadyExists)
	}
	return s.removeObject(ctx, holder.ID)
}

// removeCreated takes a create back whose answer may have been lost: what the
// request made, which nobody can have started, but nothing else of its name.
func (s *Server) removeCreated(ctx context.Context, body translate.Body) error {
	holder, err := s.engine.ContainerInspect(ctx, body.Name)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("inspect container %s: %w", body.Name, err)
	}
	same := translate.Fingerprint(holder.Config.Labels) == translate.Fingerprint(body.Config.Labels)
	if !same || holder.State.Status != container.StateCreated {
		return nil
	}
	return s.removeObject(ctx, holder.ID)
}

// networkPod is what network wants to know of a sandbox.
func networkPod(pause container.InspectResponse, c *cri.PodSandboxConfig) network.Pod {
	m := c.GetMetadata()
	return network.Pod{
		ID: pause.ID, PID: pause.State.Pid,
		Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUid(),
		PortMappings: c.GetPortMappings(), DNS: c.GetDnsConfig(), Annotations: c.GetAnnotations(),
	}
}

// writeResolvConf fills the file that the engine has made for the sandbox and
// mounts into each container that joins it. It is written in place, since the
// mount holds on to the file and not to its name.
func (s *Server) writeResolvConf(path string, dns *cri.DNSConfig) error {
	text := translate.ResolvConf(dns)
	if text == "" {
		node, err := os.ReadFile(s.config.ResolvConf)
		if err != nil {
			return fmt.Errorf("the node's resolv.conf, for a pod that brings none: %w", err)
		}
		text = string(node)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the pod's resolv.conf: %w", err)
	}
	return nil
}
