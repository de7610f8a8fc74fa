// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Size is what a tree of files takes on its disk.
type Size struct {
	Bytes, Inodes uint64
	At            time.Time
}

const (
	// restBetween is the least rest between two rounds of measuring.
	restBetween = 10 * time.Second
	// workShare bounds the cost of large trees: a round rests for as many times as
	// long as it took.
	workShare = 20
)

// Layers measures the writable layers of containers, one after the other, over
// and over. The zero value is ready; Run has to run.
type Layers struct {
	mu    sync.Mutex
	sizes map[string]Size
}

// Size is the last measure of a container's layer; ok is false before the first.
func (l *Layers) Size(id string) (s Size, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok = l.sizes[id]
	return s, ok
}

// Run measures until ctx ends. all are the folders of the layers by container,
// asked for at each round; whoever is not among them any more keeps its last
// size until known says no.
func (l *Layers) Run(ctx context.Context, all func() map[string]string, known func(id string) bool) {
	for ctx.Err() == nil {
		begin := time.Now()
		for id, dir := range all() {
			if size, err := Measure(ctx, dir); err == nil {
				l.set(id, size)
			}
		}
		l.retain(known)
		rest := time.NewTimer(max(restBetween, workShare*time.Since(begin)))
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
		}
	}
}

func (l *Layers) set(id string, s Size) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sizes == nil {
		l.sizes = map[string]Size{}
	}
	l.sizes[id] = s
}

func (l *Layers) retain(known func(string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.sizes {
		if !known(id) {
			delete(l.sizes, id)
		}
	}
}

// Measure adds up what a tree of files takes. A file with several names counts
// once; what vanishes meanwhile does not count.
func Measure(ctx context.Context, dir string) (s Size, err error) {
	type inode struct{ device, number uint64 }
	seen := map[inode]bool{}
	s.At = time.Now()
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var info fs.FileInfo
		if err == nil {
			info, err = entry.Info()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		if stat.Nlink > 1 && !entry.IsDir() {
			i := inode{uint64(stat.Dev), stat.Ino}
			if seen[i] {
				return nil
			}
			seen[i] = true
		}
		const block = 512 // whatever the file system's own (stat(2))
		s.Bytes += uint64(stat.Blocks) * block
		s.Inodes++
		return nil
	})
	return s, err
}
