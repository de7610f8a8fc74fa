// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"context"
	"sync"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"
)

// watch wakes followers that rest. A follower that has been woken ends the watch
// until it rests again, so a container that writes all the time costs no events.
type watch struct {
	// files is nil where the kernel grants no watches at all.
	files *fsnotify.Watcher

	mu      sync.Mutex
	resting map[string]*follower
}

// newWatch never fails: followers that are not woken look by themselves.
func newWatch(log klog.Logger) *watch {
	files, err := fsnotify.NewWatcher()
	if err != nil {
		log.Info("no inotify: container logs are carried over by looking for them; see fs.inotify.max_user_instances", "reason", err.Error())
	}
	return &watch{files: files, resting: map[string]*follower{}}
}

func (w *watch) close() {
	if w.files != nil {
		w.files.Close()
	}
}

// run wakes followers until ctx ends.
func (w *watch) run(ctx context.Context) {
	defer w.close()
	if w.files == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.files.Events:
			w.fire(e.Name)
		case <-w.files.Errors: // most likely events were dropped
			w.fireAll()
		}
	}
}

// add has the follower woken when something happens to its spool. It reports
// false where the kernel's limit is met, or the file is not there.
func (w *watch) add(f *follower) bool {
	if w.files == nil {
		return false
	}
	w.mu.Lock()
	w.resting[f.Spool] = f
	w.mu.Unlock()
	if w.files.Add(f.Spool) == nil {
		return true
	}
	w.take(f.Spool)
	return false
}

// remove ends what add began, whether the follower has been woken or not.
func (w *watch) remove(f *follower) {
	w.take(f.Spool)
	_ = w.files.Remove(f.Spool) // gone by itself if the file is
}

// take takes the follower off the list of those to be woken.
func (w *watch) take(path string) *follower {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.resting[path]
	delete(w.resting, path)
	return f
}

// fire wakes a follower. It must not call files: that may wait for the goroutine
// that delivers the events, which waits for this one.
func (w *watch) fire(path string) {
	if f := w.take(path); f != nil {
		f.nudge()
	}
}

func (w *watch) fireAll() {
	w.mu.Lock()
	paths := make([]string, 0, len(w.resting))
	for path := range w.resting {
		paths = append(paths, path)
	}
	w.mu.Unlock()
	for _, path := range paths {
		w.fire(path)
	}
}
