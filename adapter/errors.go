// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// kinds turns the kind of an error into a gRPC code. The first row that holds
// decides, so a row stands before those that a wrapped error might also match.
var kinds = []struct {
	is   func(error) bool
	code codes.Code
}{
	// The caller gave up, or its time is over: it calls again.
	{func(err error) bool { return errors.Is(err, context.Canceled) }, codes.Canceled},
	{func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }, codes.DeadlineExceeded},
	// The kubelet tells these by the word that the message begins with, and its
	// client cuts gRPC's own words from before it only when the code is Unknown.
	// https://github.com/kubernetes/kubernetes/blob/v1.36.0/staging/src/k8s.io/cri-client/pkg/remote_image.go#L257
	{func(err error) bool { return kubeletWord(err) != nil }, codes.Unknown},
	// The engine is away: the kubelet waits, and calls again.
	{errdefs.IsUnavailable, codes.Unavailable},
	{unreachable, codes.Unavailable},
	// The object is gone: the kubelet forgets it. Stop and Remove never say so.
	{errdefs.IsNotFound, codes.NotFound},
	// The request can never work: the kubelet shows the message on the pod.
	{errdefs.IsInvalidArgument, codes.InvalidArgument},
	{errdefs.IsOutOfRange, codes.OutOfRange},
	// Another object is in the way.
	{errdefs.IsAlreadyExists, codes.AlreadyExists},
	// The request cannot work now, or not on this node; shown on the pod.
	{errdefs.IsConflict, codes.FailedPrecondition},
	{errdefs.IsFailedPrecondition, codes.FailedPrecondition},
	// A registry refuses the credentials; shown on the pod, tried again later.
	{errdefs.IsUnauthorized, codes.Unauthenticated},
	{errdefs.IsPermissionDenied, codes.PermissionDenied},
	{errdefs.IsResourceExhausted, codes.ResourceExhausted},
	{errdefs.IsAborted, codes.Aborted},
	// The kubelet falls back to another call, or does without.
	{errdefs.IsNotImplemented, codes.Unimplemented},
	// The engine itself failed.
	{errdefs.IsInternal, codes.Internal},
	{errdefs.IsDataLoss, codes.DataLoss},
}

// coded is err as a gRPC status. What has one keeps it; what is of no known
// kind becomes Unknown, which is a bug of ours.
func coded(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return s.GRPCStatus().Err()
	}
	for _, k := range kinds {
		if k.is(err) {
			return status.Error(k.code, err.Error())
		}
	}
	return status.Error(codes.Unknown, err.Error())
}
