// SPDX-License-Identifier: Apache-2.0

package fakeengine

import (
	"context"
	"io"
	"slices"
	"sync"
)

// Stdio is what a process reads and writes.
type Stdio struct {
	// Stdin ends at once unless the process was given one.
	Stdin io.Reader
	// Stdout and Stderr are the same on a terminal. They reach the clients that
	// are attached, and keep nothing for those to come. They fail once the
	// process is killed, and block while the engine hangs.
	Stdout, Stderr io.Writer
	// Sizes are the height and width of the terminal: at first the console size
	// that was asked for, if any, then each resize. Never closed.
	Sizes <-chan [2]uint
}

// task is a process at work, a container's or a command's, or one to come.
type task struct {
	ctx   context.Context // ends when the process does
	kill  context.CancelFunc
	stdin *inbox
	sizes chan [2]uint

	mu    sync.Mutex
	lines []*line
}

// unreadSizes is how many sizes wait for a process to look at them; the oldest
// are forgotten.
const unreadSizes = 16

func newTask() *task {
	t := &task{stdin: newInbox(), sizes: make(chan [2]uint, unreadSizes)}
	t.ctx, t.kill = context.WithCancel(context.Background())
	return t
}

func (t *task) stdio(tty bool) Stdio {
	std := Stdio{
		Stdin:  t.stdin,
		Stdout: output{t, func(l *line) io.Writer { return l.stdout }},
		Stderr: output{t, func(l *line) io.Writer { return l.stderr }},
		Sizes:  t.sizes,
	}
	if tty {
		std.Stderr = std.Stdout
	}
	return std
}

// output writes to all who are attached.
type output struct {
	*task
	of func(*line) io.Writer
}

func (o output) Write(p []byte) (int, error) {
	for _, l := range o.attached() {
		_, _ = o.of(l).Write(p) // never fails
	}
	if o.over() {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func (t *task) over() bool { return t.ctx.Err() != nil }

// attach has the output reach l, too.
func (t *task) attach(l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, l)
	l.cut() // by an engine that died meanwhile
}

func (t *task) detach(l *line) {
	t.mu.Lock()
	t.lines = slices.DeleteFunc(t.lines, func(other *line) bool { return other == l })
	t.mu.Unlock()
	l.endOutput()
}

func (t *task) attached() []*line {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

// resize tells the process of the size of its terminal.
func (t *task) resize(size [2]uint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sizes) == cap(t.sizes) {
		select {
		case <-t.sizes:
		default:
		}
	}
	t.sizes <- size
}

// end is the end of the process, and of its streams. What it writes from then on
// reaches nobody.
func (t *task) end() {
	t.mu.Lock()
	lines := t.lines
	t.lines = nil
	t.kill()
	t.mu.Unlock()
	t.stdin.close()
	for _, l := range lines {
		l.endOutput()
	}
}

// cut ends the streams of an engine that has died; the process goes on.
func (t *task) cut() {
	for _, l := range t.attached() {
		l.cut()
	}
}

// input is how a client's input reaches a task.
type input struct {
	keys []byte // of a terminal: what detaches the client
	// ends makes the end of the client's input that of the process, which
	// otherwise is that of the stream.
	ends bool
}

// serve passes on what the client sends until that ends. It tells whether the
// client detached itself.
func (t *task) serve(l *line, how input) (detached bool) {
	escape := escape{keys: how.keys}
	err := l.listen(func(p []byte) bool {
		p, detached = escape.pass(p)
		t.stdin.add(p)
		return !detached
	})
	switch {
	case err == io.EOF && how.ends:
		t.stdin.close()
	case err == io.EOF:
		t.detach(l)
	}
	return detached
}

// inbox is input that waits to be read. To add to it never blocks.
type inbox struct {
	mu    sync.Mutex
	added sync.Cond
	data  []byte
	over  bool
}

func newInbox() *inbox {
	i := &inbox{}
	i.added.L = &i.mu
	return i
}

func (i *inbox) add(p []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.data = append(i.data, p...)
	i.added.Broadcast()
}

func (i *inbox) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
	i.added.Broadcast()
}

func (i *inbox) Read(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for len(i.data) == 0 {
		if i.over {
			return 0, io.EOF
		}
		i.added.Wait()
	}
	n := copy(p, i.data)
	i.data = i.data[n:]
	return n, nil
}
