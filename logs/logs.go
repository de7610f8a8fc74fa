// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// Config is what an operator can choose.
type Config struct {
	// Dir keeps one small file per container. No other process may use it.
	Dir string
}

// Validate lists all that is wrong with the configuration.
func (c Config) Validate() error {
	if !filepath.IsAbs(c.Dir) {
		return fmt.Errorf("directory of log positions %q: is not an absolute path", c.Dir)
	}
	return nil
}

// Container is one whose log is carried over.
type Container struct {
	ID string
	// Spool is the json-file that Docker writes.
	Spool string
	// Path is the CRI log, as the kubelet wants it.
	Path string
}

// Logs carries container logs over while Run runs. Its methods may be called at
// any time.
type Logs struct {
	config Config
	log    klog.Logger
	lock   *os.File
	watch  *watch
	count  counters

	mu        sync.Mutex
	followers map[string]*follower
	stopping  bool
	stop      chan struct{}
	running   sync.WaitGroup
}

// counters count since the start.
type counters struct{ bytes, losses, foreign, failures atomic.Int64 }

// Counts are figures for people and for metrics.
type Counts struct {
	// Following is the number of containers whose logs are carried over now, and
	// Failing the number of those that do not get on.
	Following int `json:"following"`
	Failing   int `json:"failing"`
	// Bytes of Docker's logs have been carried over since the start.
	Bytes int64 `json:"bytes"`
	// Losses is how often lines may have been lost, Foreign the number of lines
	// that were not Docker's, Failures how often a log got stuck.
	Losses   int64 `json:"losses"`
	Foreign  int64 `json:"foreign"`
	Failures int64 `json:"failures"`
}

// New prepares the directory and locks it. It refuses a directory that another
// process has locked: two would write every line twice. Close unlocks it.
func New(config Config, log klog.Logger) (*Logs, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of log positions: %w", err)
	}
	lock, err := lockDir(config.Dir)
	if err != nil {
		return nil, err
	}
	return &Logs{
		config: config, log: log, lock: lock, watch: newWatch(log),
		followers: map[string]*follower{}, stop: make(chan struct{}),
	}, nil
}

// lockDir holds a lock that ends with the process, whatever ends that.
func lockDir(path string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lock the directory of log positions: %w", err)
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return dir, nil
	}
	dir.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another dockershimd uses %s: stop it, or give this one a state directory of its own: %w", path, errdefs.ErrFailedPrecondition)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// stopTime is how long followers may take to note where they are. One whose disk
// hangs cannot.
const stopTime = 5 * time.Second

// Run carries logs over until ctx ends. It returns nil.
func (l *Logs) Run(ctx context.Context) error {
	l.running.Go(func() { l.watch.run(ctx) })
	<-ctx.Done()
	l.mu.Lock()
	l.stopping = true
	close(l.stop)
	l.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.running.Wait()
	}()
	late := time.NewTimer(stopTime)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		l.log.Info("container logs do not end: a disk hangs")
	}
	return nil
}

// Close gives the directory free. Run must have returned, or never been called.
func (l *Logs) Close() error {
	l.watch.close()
	return l.lock.Close()
}

// Prepare makes the log of a container that is about to be started for the first
// time, so that what is in the way is told before the container runs. Repeated,
// it does nothing.
func (l *Logs) Prepare(c Container) error {
	if _, noted := loadPosition(l.note(c.ID)); noted {
		return nil
	}
	if err := unlinkStale(c.Path); err != nil {
		return fmt.Errorf("log path %s: %w", c.Path, err)
	}
	file, err := openLog(c.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	// An earlier container of the same name may have been here.
	if err := endLine(file); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	p := position{Time: time.Now().UTC().Format(time.RFC3339Nano)}
	p.Log.Inode, p.Log.Offset = inode(info), info.Size()
	return p.save(l.note(c.ID))
}

// Follow carries the log of a container over, which runs or has run. Repeated,
// it does nothing.
func (l *Logs) Follow(c Container) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.start(c); f != nil && f.orders.ended {
		f.orders.ended = false
		f.orders.starts++
	}
}

// start expects the lock to be held. It returns nil when the daemon ends.
func (l *Logs) start(c Container) *follower {
	if f := l.followers[c.ID]; f != nil {
		return f
	}
	if l.stopping {
		return nil
	}
	f := &follower{
		Container: c, logs: l, log: l.log, note: l.note(c.ID),
		spool: spool{path: c.Spool}, out: output{path: c.Path}, delay: gather,
		wake: make(chan struct{}, 1), reopens: make(chan reopening), done: make(chan struct{}),
	}
	l.followers[c.ID] = f
	l.running.Go(f.run)
	return f
}

// Nudge has a container's log looked at now, if it is followed: it may just have
// come into being.
func (l *Logs) Nudge(id string) {
	if f := l.follower(id); f != nil {
		f.nudge()
	}
}

// Finish carries over the rest of the log of a container that has ended, and
// returns when that is done. It goes on after an error, which is that of ctx.
func (l *Logs) Finish(ctx context.Context, c Container) error {
	if l.follower(c.ID) == nil && l.finished(c) {
		return nil
	}
	l.mu.Lock()
	f := l.start(c)
	if f != nil {
		f.orders.ended = true
		f.nudge()
	}
	l.mu.Unlock()
	if f != nil {
		select {
		case <-f.done:
		case <-ctx.Done():
			return fmt.Errorf("carry over the log of container %s: %w", c.ID, errors.Join(ctx.Err(), f.trouble()))
		}
	}
	if l.follower(c.ID) == f { // it has not left
		return fmt.Errorf("carry over the log of container %s: the daemon ends: %w", c.ID, errdefs.ErrUnavailable)
	}
	return nil
}

// follower is nil where the container's log is not carried over now.
func (l *Logs) follower(id string) *follower {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.followers[id]
}

// finished tells whether the log of a container that has ended is complete.
func (l *Logs) finished(c Container) bool {
	info, err := os.Stat(c.Spool)
	if errors.Is(err, fs.ErrNotExist) {
		return true // never started, or its spool is gone
	}
	p, noted := loadPosition(l.note(c.ID))
	return err == nil && noted && p.Spool.Inode == inode(info) && p.Spool.Offset == info.Size() && p.whole(c.Path)
}

// whole tells whether the log has all that it had when the position was noted. It
// has not after a power cut, or when a kubelet that did not hear of a reopen has
// put an older log in its place. One that was removed is not missed.
func (p position) whole(path string) bool {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || inode(info) != p.Log.Inode {
		return err != nil || info.Size() == 0
	}
	whole, err := endsLine(file, p.Log.Offset)
	return err == nil && whole
}

// trouble is why the follower does not get on; nil if it does.
func (f *follower) trouble() error {
	if err := f.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// Reopen goes on in a new file at the container's log path, if the old one has
// been renamed. For a container that does not run it makes none and is an error.
func (l *Logs) Reopen(ctx context.Context, id string) error {
	f := l.follower(id)
	if f == nil {
		return fmt.Errorf("reopen the log of container %s: it does not run: %w", id, errdefs.ErrFailedPrecondition)
	}
	r := reopening{ctx, make(chan error, 1)}
	var err error
	select {
	case f.reopens <- r:
		select {
		case err = <-r.reply:
		case <-ctx.Done():
			err = errors.Join(ctx.Err(), f.trouble())
		}
	case <-f.done:
		err = fmt.Errorf("it has ended: %w", errdefs.ErrFailedPrecondition)
	case <-ctx.Done():
		err = errors.Join(ctx.Err(), f.trouble())
	}
	if err != nil {
		return fmt.Errorf("reopen the log of container %s: %w", id, err)
	}
	return nil
}

// removeTime is how long Remove waits for what a removed container wrote last.
const removeTime = 2 * time.Second

// Remove forgets a container that is gone, when what it wrote last has been
// carried over, so far as that is still there. The log stays, for the kubelet.
func (l *Logs) Remove(ctx context.Context, id string) error {
	l.mu.Lock()
	f := l.followers[id]
	if f != nil {
		f.orders.ended, f.orders.removed = true, true
		f.nudge()
	}
	l.mu.Unlock()
	if f == nil {
		return removePosition(l.note(id))
	}
	late := time.NewTimer(removeTime)
	defer late.Stop()
	select {
	case <-f.done:
	case <-late.C: // a disk hangs; it ends by itself
	case <-ctx.Done():
	}
	return nil
}

// Retain forgets the containers that nobody knows any more.
func (l *Logs) Retain(ctx context.Context, known func(id string) bool) error {
	entries, err := os.ReadDir(l.config.Dir)
	if err != nil {
		return fmt.Errorf("list the log positions: %w", err)
	}
	for _, e := range entries {
		id := strings.TrimSuffix(e.Name(), nextSuffix)
		if !known(id) {
			err = errors.Join(err, l.Remove(ctx, id))
		}
	}
	return err
}

// Counts are the figures of now.
func (l *Logs) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := Counts{
		Following: len(l.followers), Bytes: l.count.bytes.Load(), Losses: l.count.losses.Load(),
		Foreign: l.count.foreign.Load(), Failures: l.count.failures.Load(),
	}
	for _, f := range l.followers {
		if f.trouble() != nil {
			c.Failing++
		}
	}
	return c
}

// Trouble is why the log of a container is not carried over; nil where it is, or
// need not be.
func (l *Logs) Trouble(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.followers[id]; f != nil {
		return f.trouble()
	}
	return nil
}

// orders tells a follower what to do.
func (l *Logs) orders(f *follower) orders {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.orders
}

// leave lets a follower go that has done all it was told. It reports false where
// there are new orders.
func (l *Logs) leave(f *follower, seen orders) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.orders != seen {
		return false
	}
	delete(l.followers, f.ID)
	return true
}

func (l *Logs) note(id string) string { return filepath.Join(l.config.Dir, id) }
