// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// diskEvery is how long an answer about disk usage is kept. The engine walks
// file trees for it, and the kubelet asks every few seconds.
const diskEvery = time.Minute

// disk keeps the engine's last answer about disk usage.
type disk struct {
	mu    sync.Mutex
	at    time.Time
	usage types.DiskUsage
}

// ImageFsInfo tells where the engine keeps images and containers, and how much
// of it they use. The figures may be a minute old.
func (s *Server) ImageFsInfo(ctx context.Context, _ *cri.ImageFsInfoRequest) (*cri.ImageFsInfoResponse, error) {
	usage, at, fresh := s.disk.last()
	if !fresh {
		if err := s.flights.do(ctx, "disk usage", s.measureDisk); err != nil {
			return nil, err
		}
		usage, at, _ = s.disk.last()
	}
	var layers uint64
	for _, c := range usage.Containers {
		layers += uint64(max(c.SizeRw, 0))
	}
	store := s.imageStore()
	return &cri.ImageFsInfoResponse{
		ImageFilesystems:     []*cri.FilesystemUsage{filesystem(store, uint64(max(usage.LayersSize, 0)), at)},
		ContainerFilesystems: []*cri.FilesystemUsage{filesystem(store, layers, at)},
	}, nil
}

// imageStore is where the engine keeps images and the layers of containers.
func (s *Server) imageStore() string {
	n := s.node.Load()
	store := filepath.Join(n.info.DockerRootDir, n.info.Driver)
	if !exists(store) {
		// The containerd image store lies elsewhere under the same root.
		return n.info.DockerRootDir
	}
	return store
}

func filesystem(mountpoint string, used uint64, at time.Time) *cri.FilesystemUsage {
	return &cri.FilesystemUsage{
		Timestamp: at.UnixNano(),
		FsId:      &cri.FilesystemIdentifier{Mountpoint: mountpoint},
		UsedBytes: &cri.UInt64Value{Value: used},
	}
}

// last is the answer kept here, and whether it is new enough to be given.
func (d *disk) last() (usage types.DiskUsage, at time.Time, fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.usage, d.at, time.Since(d.at) < diskEvery
}

// measureDisk asks the engine. Callers that need the answer share one question.
func (s *Server) measureDisk(ctx context.Context) error {
	usage, err := s.engine.DiskUsage(ctx, types.DiskUsageOptions{Types: []types.DiskUsageObject{types.ImageObject, types.ContainerObject}})
	if err != nil {
		return fmt.Errorf("ask the engine for its disk usage: %w", err)
	}
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	s.disk.usage, s.disk.at = types.DiskUsage{LayersSize: usage.LayersSize, Containers: usage.Containers}, time.Now()
	return nil
}
