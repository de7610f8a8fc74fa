// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
)

// Store keeps the limits that containers should have, a file for each, so that a
// daemon that was killed before it applied them does so later. It is made by
// NewStore; its methods can be called at the same time.
type Store struct {
	dir string
	mu  sync.Mutex // held by writers: Retain must not take a file that Keep is writing
}

// NewStore is a store in a directory, which is made when first needed.
func NewStore(dir string) *Store { return &Store{dir: dir} }

const (
	keptSuffix = ".json"
	// nextSuffix is that of a file that has not taken its place yet.
	nextSuffix = ".next"
)

// Keep notes the limits that a container should have, in place of those before.
func (s *Store) Keep(id string, l Limits) error {
	path, err := s.path(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.replace(path, l); err != nil {
		return fmt.Errorf("keep limits of container %s: %w", id, err)
	}
	return nil
}

func (s *Store) replace(path string, l Limits) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	next := path + nextSuffix
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	// Not synced: no container runs on over a power cut.
	return os.Rename(next, path)
}

// Kept is the limits that a container should have; zero if none are noted.
func (s *Store) Kept(id string) (l Limits, err error) {
	path, err := s.path(id)
	if err != nil {
		return l, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return Limits{}, fmt.Errorf("read kept limits of container %s: %w", id, err)
	}
	return l, nil
}

// Forget drops a container's limits. It is no error if there are none.
func (s *Store) Forget(id string) error {
	path, err := s.path(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return remove(path)
}

// Retain forgets all containers but those known, and what a killed daemon was
// writing.
func (s *Store) Retain(known func(id string) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list kept limits: %w", err)
	}
	for _, e := range entries {
		if id, kept := strings.CutSuffix(e.Name(), keptSuffix); !kept || !known(id) {
			err = errors.Join(err, remove(filepath.Join(s.dir, e.Name())))
		}
	}
	return err
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget kept limits: %w", err)
	}
	return nil
}

// path refuses ids that would lead out of the directory.
func (s *Store) path(id string) (string, error) {
	if id == "" || strings.ContainsAny(id, "/\x00") {
		return "", fmt.Errorf("%q is not a container's id: %w", id, errdefs.ErrInvalidArgument)
	}
	return filepath.Join(s.dir, id+keptSuffix), nil
}
