// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// client speaks CRI with the runtime.
type client struct {
	conn    *grpc.ClientConn
	runtime cri.RuntimeServiceClient
	images  cri.ImageServiceClient
}

// callTime bounds each call, so that none hangs a test: as the kubelet does.
var callTime = max(2*time.Minute, 6*patience)

func dial(endpoint string) (*client, error) {
	limit := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		ctx, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		return invoke(ctx, method, request, reply, conn, options...)
	}
	conn, err := grpc.NewClient(endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(limit),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)), // the kubelet's
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}),
	)
	if err != nil {
		return nil, err
	}
	return &client{conn, cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)}, nil
}

// awaitReady waits until pods may come.
func (c *client) awaitReady(ctx context.Context) error {
	var last any
	if !soon(func() bool {
		r, err := c.runtime.Status(ctx, &cri.StatusRequest{})
		if last = err; err != nil {
			return false
		}
		last = r.GetStatus().GetConditions()
		ready := map[string]bool{}
		for _, condition := range r.GetStatus().GetConditions() {
			ready[condition.GetType()] = condition.GetStatus()
		}
		return ready[cri.RuntimeReady] && ready[cri.NetworkReady]
	}) {
		return fmt.Errorf("runtime and network are not ready: %v", last)
	}
	return nil
}

func (c *client) needImage(ctx context.Context, ref string) error {
	spec := &cri.ImageSpec{Image: ref}
	if r, err := c.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: spec}); err == nil && r.GetImage() != nil {
		return nil
	}
	_, err := c.images.PullImage(ctx, &cri.PullImageRequest{Image: spec})
	return err
}

func (c *client) removeImage(ctx context.Context, ref string) error {
	_, err := c.images.RemoveImage(ctx, &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: ref}})
	return err
}

// kubelet is the runtime in the hands of one test.
type kubelet struct {
	*testing.T
	*client
}

// newKubelet skips the test where there is no runtime. All that the test makes
// must be gone when it ends.
func newKubelet(t *testing.T) *kubelet {
	t.Helper()
	if suite.missing != "" {
		t.Skip(suite.missing)
	}
	k := &kubelet{t, suite.client}
	k.keepBalance()
	return k
}

// sub runs a part of the test.
func (k *kubelet) sub(name string, test func(k *kubelet)) {
	k.Helper()
	k.Run(name, func(t *testing.T) { test(&kubelet{t, k.client}) })
}

// must ends the test on an error.
func (k *kubelet) must(what string, err error) {
	k.Helper()
	if err != nil {
		k.Fatalf("%s: %v", what, err)
	}
}

// wantCode checks the gRPC code of an error against those that are right.
func (k *kubelet) wantCode(what string, err error, right ...codes.Code) {
	k.Helper()
	for _, code := range right {
		if status.Code(err) == code {
			return
		}
	}
	k.Errorf("%s: code %s, want %s: %v", what, status.Code(err), right, err)
}

// needOwnImages skips a test whose images the runtime does not pull.
func (k *kubelet) needOwnImages() {
	k.Helper()
	if suite.registry == nil {
		k.Skip("IMAGE is set: the suite's own registry is not used")
	}
}

// features are those of the runtime, and of its default handler.
func (k *kubelet) features() (*cri.RuntimeFeatures, *cri.RuntimeHandlerFeatures) {
	k.Helper()
	r, err := k.runtime.Status(k.Context(), &cri.StatusRequest{})
	k.must("Status", err)
	for _, h := range r.GetRuntimeHandlers() {
		if h.GetName() == "" {
			return r.GetFeatures(), h.GetFeatures()
		}
	}
	return r.GetFeatures(), nil
}
