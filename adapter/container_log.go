// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/dockershimd/dockershimd/logs"
	"github.com/dockershimd/dockershimd/translate"
)

// ReopenContainerLog goes on in a new log after the kubelet has renamed the old
// one. Repeated, it does nothing.
func (s *Server) ReopenContainerLog(ctx context.Context, r *cri.ReopenContainerLogRequest) (*cri.ReopenContainerLogResponse, error) {
	c, err := s.index.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	if !c.running() {
		return nil, fmt.Errorf("reopen the log of container %s: it does not run: %w", c.id(), errdefs.ErrFailedPrecondition)
	}
	log := s.logOf(c.inspect)
	switch {
	case log.Path == "":
	case translate.CRILog(c.inspect.Config.Labels):
		err = s.logs.Reopen(ctx, c.id())
	case translate.EngineRotates(c.inspect):
		err = logs.Relink(log.Path, log.Spool)
	default:
		err = logs.CopyTruncate(log.Path, log.Spool)
	}
	return &cri.ReopenContainerLogResponse{}, err
}

// engineLog is where the engine's json-file driver writes a container's log.
// Inspect tells the same, but only of containers that have been started.
func (s *Server) engineLog(id string) string {
	return filepath.Join(s.node.Load().info.DockerRootDir, "containers", id, id+"-json.log")
}

// logOf is a container's log. Its path is empty where the kubelet wants none.
func (s *Server) logOf(c container.InspectResponse) logs.Container {
	return logs.Container{ID: c.ID, Spool: s.engineLog(c.ID), Path: translate.LogPath(c.Config.Labels)}
}

// prepareLog puts a log where the kubelet looks for it, which it does when the
// container has been started. Following it begins before the start, since the
// end may come before the start's answer.
func (s *Server) prepareLog(c *workload) error {
	log := s.logOf(c.inspect)
	switch {
	case log.Path == "":
		return nil
	case !translate.CRILog(c.inspect.Config.Labels):
		return logs.Link(log.Path, log.Spool)
	}
	if err := s.logs.Prepare(log); err != nil {
		return err
	}
	s.logs.Follow(log)
	return nil
}

// finishTime is how long the end of a container stays unknown because its log is
// not written yet. A disk that is full must not keep pods from ending.
const finishTime = 10 * time.Second

// followLog sees to it that the log of a container is carried over and, when the
// container has ended, that it is complete. What is not at that time still will
// be, if it can. A container that has not been started counts as ended: its log
// is followed only because a start has failed.
func (s *Server) followLog(ctx context.Context, c seen) {
	last, known := s.index.last(c.id())
	switch {
	case !translate.CRILog(c.inspect.Config.Labels):
		return
	case known && last.at.After(c.at): // it may have ended since
		return
	case c.running():
		s.logs.Follow(s.logOf(c.inspect))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	if err := s.logs.Finish(ctx, s.logOf(c.inspect)); err != nil {
		klog.FromContext(ctx).Error(err, "end of a container told before its log is complete", "container", c.id())
	}
}

// unlinkLog removes the link to a log that we do not write.
func (s *Server) unlinkLog(labels map[string]string, id string) error {
	if path := translate.LogPath(labels); path != "" && !translate.CRILog(labels) {
		return logs.Unlink(path, s.engineLog(id))
	}
	return nil
}

// forgetLog frees what was kept to carry over the log of a container that is
// gone. The log itself is the kubelet's.
func (s *Server) forgetLog(ctx context.Context, labels map[string]string, id string) error {
	if !translate.CRILog(labels) {
		return nil
	}
	return s.logs.Remove(ctx, id)
}

// retainLogs forgets the logs of containers that went unseen.
func (s *Server) retainLogs(ctx context.Context) {
	known := func(id string) bool {
		_, here := s.index.last(id)
		return here
	}
	if err := s.logs.Retain(ctx, known); err != nil {
		s.log.Error(err, "positions in the logs of removed containers stay")
	}
}

// logInfo is what a person wants to know of a container's log.
func (s *Server) logInfo(c container.InspectResponse) map[string]any {
	log := s.logOf(c)
	info := map[string]any{"spool": log.Spool}
	switch {
	case log.Path == "":
		info["format"] = "none: no log path was asked for"
	case translate.CRILog(c.Config.Labels):
		info["format"] = "cri"
		if err := s.logs.Trouble(c.ID); err != nil {
			info["trouble"] = err.Error()
		}
	case translate.EngineRotates(c):
		info["format"] = "json-file, linked; rotated by the engine"
	default:
		info["format"] = "json-file, linked; rotated by copying and truncating it"
	}
	return info
}
