// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"
)

// slowWriter takes a byte only once it may.
type slowWriter struct {
	may  chan struct{}
	got  bytes.Buffer
	fail error
}

func (w *slowWriter) Write(p []byte) (int, error) {
	<-w.may
	if w.fail != nil {
		return 0, w.fail
	}
	return w.got.Write(p)
}

func never() bool { return false }

// pattern is output in which a lost or doubled byte shows.
func pattern(size int) []byte {
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return out
}

func TestBacklogKeepsOrder(t *testing.T) {
	w := &slowWriter{may: make(chan struct{})}
	close(w.may)
	b := newBacklog(w, 0, never)
	want := pattern(5 * backlogRoom)
	if n, err := io.Copy(b, struct{ io.Reader }{bytes.NewReader(want)}); err != nil || n != int64(len(want)) {
		t.Fatal(n, err)
	}
	if err := b.finish(); err != nil || !bytes.Equal(w.got.Bytes(), want) {
		t.Errorf("%d bytes have come of %d, or others: %v", w.got.Len(), len(want), err)
	}
}

// written starts to write all of it, and tells on the channel how that ended.
func written(b *backlog, p []byte) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(b, struct{ io.Reader }{bytes.NewReader(p)})
		done <- err
	}()
	return done
}

func TestBacklogHoldsProcessUp(t *testing.T) {
	w := &slowWriter{may: make(chan struct{})}
	b := newBacklog(w, 0, never)
	want := pattern(4 * backlogRoom)
	done := written(b, want)
	select {
	case err := <-done:
		t.Fatalf("everything was taken for a client that reads nothing: %v", err)
	case <-time.After(2 * backlogLook):
	}
	b.set(func() {
		if held := len(b.waiting); held > 2*backlogRoom {
			t.Errorf("%d bytes wait", held)
		}
	})
	close(w.may)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := b.finish(); err != nil || !bytes.Equal(w.got.Bytes(), want) {
		t.Errorf("%d bytes have come of %d, or others: %v", w.got.Len(), len(want), err)
	}
}

// What a process has left when it ends is fetched, however slow its client is.
func TestBacklogFetchesAllAtTheEnd(t *testing.T) {
	w := &slowWriter{may: make(chan struct{})}
	var ended atomic.Bool
	b := newBacklog(w, 0, ended.Load)
	// One buffer may be on its way to the client.
	want := pattern(backlogRoom + backlogEndRoom)
	done := written(b, want)
	ended.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	close(w.may)
	if err := b.finish(); err != nil || !bytes.Equal(w.got.Bytes(), want) {
		t.Errorf("%d bytes have come of %d, or others: %v", w.got.Len(), len(want), err)
	}
}

func TestBacklogOfStalledClient(t *testing.T) {
	w := &slowWriter{may: make(chan struct{})}
	defer close(w.may)
	b := newBacklog(w, backlogLook, never)
	if err := <-written(b, pattern(4*backlogRoom)); !errors.Is(err, errStalled) {
		t.Errorf("error %v", err)
	}
	if err := b.finish(); !errors.Is(err, errStalled) {
		t.Errorf("error %v", err)
	}
}

func TestBacklogOfLostClient(t *testing.T) {
	w := &slowWriter{may: make(chan struct{}), fail: context.Canceled}
	b := newBacklog(w, 0, never)
	done := written(b, pattern(4*backlogRoom))
	close(w.may)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := b.finish(); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestCapturedOutput(t *testing.T) {
	room := 10
	out, errs := captured{room: &room}, captured{room: &room}
	for _, w := range []struct {
		to   io.Writer
		text string
	}{{&out, "12345"}, {&errs, "abc"}, {&out, "6789"}, {&errs, "def"}} {
		if n, err := w.to.Write([]byte(w.text)); n != len(w.text) || err != nil {
			t.Error("a command would be held up:", n, err)
		}
	}
	if got := string(out.bytes()); got != "1234567"+cutMark {
		t.Errorf("output %q", got)
	}
	if got := string(errs.bytes()); got != "abc"+cutMark {
		t.Errorf("errors %q", got)
	}
}

func TestEngineWord(t *testing.T) {
	const word = "OCI runtime exec failed: exec: \"x\": not found"
	for _, test := range []struct {
		name, held, passed string
		writes             []string
	}{
		{"output", "", "abc", []string{"a", "bc"}},
		{"word", word, "", []string{word}},
		{"word in pieces", word, "", []string{"OC", "I runtime exec f", word[18:]}},
		{"a beginning like it", "", "OCI runtimes are many", []string{"OCI run", "times are many"}},
		{"so far like it", "OCI", "", []string{"OCI"}},
		{"nothing", "", "", nil},
	} {
		var to bytes.Buffer
		w := engineWord{to: &to}
		for _, text := range test.writes {
			if n, err := io.WriteString(&w, text); n != len(text) || err != nil {
				t.Errorf("%s: %d, %v", test.name, n, err)
			}
		}
		if w.held() != test.held || to.String() != test.passed {
			t.Errorf("%s: holds %q, passed %q", test.name, w.held(), to.String())
		}
		if err := w.release(); err != nil || to.String() != test.held+test.passed {
			t.Errorf("%s: after release %q, %v", test.name, to.String(), err)
		}
	}
	var to bytes.Buffer
	w := engineWord{to: &to}
	long := append([]byte(word), pattern(2*wordRoom)...)
	if _, err := w.Write(long); err != nil || !bytes.Equal(to.Bytes(), long) {
		t.Error("a long output that begins like the word is kept back")
	}
}
