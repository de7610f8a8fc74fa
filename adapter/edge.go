// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
)

// polled are the prefixes of methods that kubelets call all the time: those that
// change nothing, and the probes. They are logged at a higher level.
var polled = []string{"ExecSync", "Version", "Status", "List", "Stream", "PodSandboxStatus", "ContainerStatus", "ContainerStats", "ImageStatus", "ImageFsInfo", "RuntimeConfig"}

// Unary is the edge of every call: it answers Unavailable until the engine has
// been reached once, logs one line and gives the error its gRPC code.
func (s *Server) Unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	start := time.Now()
	log := s.log.WithValues("method", method).WithValues(ids(request)...)
	response, err := s.gated(ctx, method, func() (any, error) { return handler(klog.NewContext(ctx, log), request) })
	err = coded(err)
	logCall(log, method, start, err)
	return response, err
}

// Stream is Unary for calls that answer with a stream.
func (s *Server) Stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	start := time.Now()
	log := s.log.WithValues("method", method)
	_, err := s.gated(stream.Context(), method, func() (any, error) { return nil, handler(server, stream) })
	err = coded(err)
	logCall(log, method, start, err)
	return err
}

// gated lets Status through even when nothing is known of the engine: it is how
// the kubelet learns that.
func (s *Server) gated(ctx context.Context, method string, call func() (any, error)) (any, error) {
	if method != "Status" {
		if err := s.ready(ctx); err != nil {
			return nil, err
		}
	}
	return call()
}

// logCall writes the one line per call. Its level is that of what happened.
func logCall(log klog.Logger, method string, start time.Time, err error) {
	log = log.WithValues("duration", time.Since(start).Round(time.Microsecond), "code", status.Code(err).String())
	switch {
	case err == nil && polls(method):
		log.V(4).Info("answered")
	case err == nil || status.Code(err) == codes.Unimplemented:
		log.V(2).Info("answered")
	case status.Code(err) == codes.NotFound && polls(method):
		log.V(2).Info("answered", "reason", status.Convert(err).Message())
	default:
		log.Error(err, "refused")
	}
}

func polls(method string) bool {
	for _, prefix := range polled {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	return false
}

// ids are the keys and values by which a request is found in the log.
func ids(request any) []any {
	var out []any
	note := func(key, value string) {
		if value != "" {
			out = append(out, key, value)
		}
	}
	if r, ok := request.(interface{ GetPodSandboxId() string }); ok {
		note("sandbox", r.GetPodSandboxId())
	}
	if r, ok := request.(interface{ GetContainerId() string }); ok {
		note("container", r.GetContainerId())
	}
	if r, ok := request.(interface{ GetImage() *cri.ImageSpec }); ok {
		note("image", r.GetImage().GetImage())
	}
	if r, ok := request.(*cri.RunPodSandboxRequest); ok {
		m := r.GetConfig().GetMetadata()
		note("pod", m.GetNamespace()+"/"+m.GetName())
	}
	if r, ok := request.(*cri.CreateContainerRequest); ok {
		note("name", r.GetConfig().GetMetadata().GetName())
	}
	return out
}
