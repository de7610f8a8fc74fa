// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/versions"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/network"
	"github.com/dockershimd/dockershimd/translate"
)

const (
	// kubeAPIVersion is the answer that every runtime gives to Version.
	kubeAPIVersion = "0.1.0"
	// runtimeName becomes the prefix of container ids in pod statuses. It decides
	// whether pods of an older shim stay the same to the kubelet.
	runtimeName = "docker"
	// oldestAPI is Docker Engine 20.10's.
	oldestAPI = "1.41"
)

func olderThan(version, than string) bool { return versions.LessThan(version, than) }

// Version says what runs containers here: the engine.
func (s *Server) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	n := s.node.Load()
	return &cri.VersionResponse{
		Version:           kubeAPIVersion,
		RuntimeName:       runtimeName,
		RuntimeVersion:    n.EngineVersion,
		RuntimeApiVersion: n.APIVersion + ".0", // the kubelet reads a semantic version
	}, nil
}

// Status never fails: an engine that is away makes the runtime not ready, which
// the kubelet shows on the node, while an error would look like a fault of ours.
func (s *Server) Status(ctx context.Context, r *cri.StatusRequest) (*cri.StatusResponse, error) {
	out := &cri.StatusResponse{
		Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
			condition(cri.RuntimeReady, "EngineNotReachable", s.health.err()),
			condition(cri.NetworkReady, "NetworkPluginNotReady", s.network.Status(ctx)),
		}},
		Features: &cri.RuntimeFeatures{SupplementalGroupsPolicy: true, MountOptions: true},
	}
	n := s.node.Load()
	if n != nil {
		out.RuntimeHandlers = translate.Handlers(n.Facts)
	}
	if r.GetVerbose() {
		info, err := s.verboseStatus(n)
		if err != nil {
			return nil, err
		}
		out.Info = info
	}
	return out, nil
}

func condition(name, reason string, err error) *cri.RuntimeCondition {
	if err == nil {
		return &cri.RuntimeCondition{Type: name, Status: true}
	}
	return &cri.RuntimeCondition{Type: name, Reason: reason, Message: err.Error()}
}

// verboseStatus is for people: what is in effect here.
func (s *Server) verboseStatus(n *node) (map[string]string, error) {
	type engine struct {
		Endpoint      string `json:"endpoint"`
		Version       string `json:"version,omitempty"`
		APIVersion    string `json:"apiVersion,omitempty"`
		Root          string `json:"root,omitempty"`
		StorageDriver string `json:"storageDriver,omitempty"`
		LiveRestore   bool   `json:"liveRestore"`
	}
	e := engine{Endpoint: s.config.Endpoint}
	if n != nil {
		e = engine{s.config.Endpoint, n.EngineVersion, n.APIVersion, n.info.DockerRootDir, n.info.Driver, n.info.LiveRestoreEnabled}
	}
	return infoMap(map[string]any{
		"config":  s.config,
		"engine":  e,
		"network": s.network.Describe(),
		"logs":    s.logs.Counts(),
	})
}

// infoMap renders what verbose answers carry: each entry is a JSON document.
func infoMap(values map[string]any) (map[string]string, error) {
	out := make(map[string]string, len(values))
	for k, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("verbose info %s: %w", k, err)
		}
		out[k] = string(b)
	}
	return out, nil
}

// RuntimeConfig tells the kubelet which cgroup driver to use.
func (s *Server) RuntimeConfig(context.Context, *cri.RuntimeConfigRequest) (*cri.RuntimeConfigResponse, error) {
	var driver cri.CgroupDriver
	switch d := s.node.Load().CgroupDriver; d {
	case "systemd":
		driver = cri.CgroupDriver_SYSTEMD
	case "cgroupfs":
		driver = cri.CgroupDriver_CGROUPFS
	default:
		return nil, fmt.Errorf("the engine's cgroup driver is %q: a kubelet needs systemd or cgroupfs, set by native.cgroupdriver in daemon.json: %w", d, errdefs.ErrFailedPrecondition)
	}
	return &cri.RuntimeConfigResponse{Linux: &cri.LinuxRuntimeConfiguration{CgroupDriver: driver}}, nil
}

// UpdateRuntimeConfig takes the node's pod CIDRs, one per address family. The
// kubelet repeats the call whenever they change; no CIDR leaves things as they are.
func (s *Server) UpdateRuntimeConfig(_ context.Context, r *cri.UpdateRuntimeConfigRequest) (*cri.UpdateRuntimeConfigResponse, error) {
	text := r.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()
	if cidrs := splitList(text); len(cidrs) > 0 {
		if err := s.network.SetPodCIDRs(cidrs); err != nil {
			return nil, fmt.Errorf("runtime_config.network_config.pod_cidr %q: %w: %w", text, err, errdefs.ErrInvalidArgument)
		}
	}
	return &cri.UpdateRuntimeConfigResponse{}, nil
}

func splitList(text string) []string {
	return slices.DeleteFunc(strings.Split(strings.ReplaceAll(text, " ", ""), ","), func(s string) bool { return s == "" })
}

var _ Network = (*network.Network)(nil)
