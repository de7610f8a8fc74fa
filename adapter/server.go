// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/dockershimd/dockershimd/logs"
	"github.com/dockershimd/dockershimd/network"
	"github.com/dockershimd/dockershimd/stats"
	"github.com/dockershimd/dockershimd/translate"
)

// What Config.OOMScoreAdj may be.
const (
	// OOMScoreAuto clamps scores where the engine may not lower them.
	OOMScoreAuto = "auto"
	// OOMScoreExact passes scores on as they are.
	OOMScoreExact = "exact"
	// OOMScoreClamp raises negative scores to 0.
	OOMScoreClamp = "clamp"
)

// Config is what an operator can choose about the adapter.
type Config struct {
	// Endpoint is the engine's, for messages and for finding its process.
	Endpoint string
	// PauseImage is the image of sandboxes.
	PauseImage string
	// OOMScoreAdj is one of OOMScoreAuto, OOMScoreExact and OOMScoreClamp.
	OOMScoreAdj string
	// PullProgressDeadline is how long a pull may go without progress; 0 is for ever.
	PullProgressDeadline time.Duration
	// ResolvConf is the node's resolver configuration, for pods that bring none.
	ResolvConf string
	// Logs is how the output of new containers is kept.
	Logs translate.LogOptions
}

// Validate lists all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.PauseImage == "" {
		errs = append(errs, errors.New("pause image: is required"))
	}
	switch c.OOMScoreAdj {
	case OOMScoreAuto, OOMScoreExact, OOMScoreClamp:
	default:
		errs = append(errs, fmt.Errorf("OOM score mode %q: is none of auto, exact, clamp", c.OOMScoreAdj))
	}
	if c.PullProgressDeadline < 0 {
		errs = append(errs, fmt.Errorf("pull progress deadline %s: is negative", c.PullProgressDeadline))
	}
	return errors.Join(append(errs, c.Logs.Validate())...)
}

// Network attaches sandboxes to the pod network. *network.Network is the one
// that is shipped; its documentation says what each method promises.
type Network interface {
	Attach(ctx context.Context, pod network.Pod) (addresses []string, err error)
	Detach(ctx context.Context, sandboxID string) error
	Addresses(sandboxID string) []string
	Holds(sandboxID string, pid int) bool
	Check(ctx context.Context, sandboxID string) error
	Collect(ctx context.Context, sandboxIDs []string) error
	Status(ctx context.Context) error
	Describe() network.Description
	SetPodCIDRs(cidrs []string) error
	Dial(ctx context.Context, sandboxID string, port uint16) (net.Conn, error)
	DialNode(ctx context.Context, port uint16) (net.Conn, error)
}

// Logs writes the logs that the kubelet reads. *logs.Logs is the one that is
// shipped; its documentation says what each method promises.
type Logs interface {
	Prepare(c logs.Container) error
	Follow(c logs.Container)
	Nudge(id string)
	Finish(ctx context.Context, c logs.Container) error
	Reopen(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	Retain(ctx context.Context, known func(id string) bool) error
	Counts() logs.Counts
	Trouble(id string) error
}

var _ Logs = (*logs.Logs)(nil)

// Parts are what the adapter joins. All are required.
type Parts struct {
	Engine  Engine
	Network Network
	Streams Streams
	Logs    Logs
	Cgroups Cgroups
	Staging Staging
}

// Server answers CRI. Its methods are in one file per family of RPCs.
type Server struct {
	cri.UnimplementedRuntimeServiceServer
	cri.UnimplementedImageServiceServer

	engine  Engine
	network Network
	streams Streams
	logs    Logs
	cgroups Cgroups
	staging Staging
	config  Config
	log     klog.Logger

	index   *index
	images  *images
	disk    disk
	pods    podLocks
	flights flights

	removing *semaphore.Weighted // of images

	rates  stats.Rates
	layers stats.Layers

	stagingNow heldKeys // the keys of mounts that are being staged
	starting   heldKeys // the ids of containers that are being started
	stopping   heldKeys // the ids of containers that are being stopped

	health     health
	node       atomic.Pointer[node]
	synced     chan struct{} // closed once the index has been filled
	sync       sync.Once
	collectNow chan struct{}
	background sync.WaitGroup
}

// New prepares a server; Run must run for it to answer.
func New(parts Parts, config Config, log klog.Logger) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		engine: parts.Engine, network: parts.Network, streams: parts.Streams, logs: parts.Logs,
		cgroups: parts.Cgroups, staging: parts.Staging,
		config: config, log: log,
		images:     newImages(parts.Engine),
		removing:   semaphore.NewWeighted(1),
		collectNow: make(chan struct{}, 1),
		synced:     make(chan struct{}),
	}
	s.index = newIndex(s.images.digests)
	s.health.following = errors.New("no connection to the engine yet")
	return s, nil
}

// Register makes the server answer both CRI services.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	cri.RegisterRuntimeServiceServer(r, s)
	cri.RegisterImageServiceServer(r, s)
}

// refreshNode reads anew what the engine is and can do.
func (s *Server) refreshNode(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	n, err := s.readNode(ctx)
	if err != nil {
		return err
	}
	s.node.Store(n)
	return nil
}

// setSynced lets calls through to the index.
func (s *Server) setSynced() { s.sync.Do(func() { close(s.synced) }) }

// syncTime is how long a call waits for the engine to be reached for the first
// time. A kubelet that starts beside us, or polls while we are replaced, then
// notices nothing.
const syncTime = 5 * time.Second

// ready is an error for as long as nothing is known of the engine.
func (s *Server) ready(ctx context.Context) error {
	late := time.NewTimer(syncTime)
	defer late.Stop()
	select {
	case <-s.synced:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
	}
	return fmt.Errorf("the engine at %s has not been reached yet: %w: %w", s.config.Endpoint, s.health.err(), errdefs.ErrUnavailable)
}
