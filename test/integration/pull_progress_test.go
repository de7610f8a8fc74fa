// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// bulk is a layer that no compression makes smaller, and like no other.
func (n *node) bulk(seed string, size int) []byte {
	n.Helper()
	h := fnv.New64()
	fmt.Fprint(h, seed, size)
	content := make([]byte, size)
	_, _ = rand.New(rand.NewSource(int64(h.Sum64()))).Read(content)
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	n.must("write a file", writeFile(w, "bulk", content))
	n.must("close", w.Close())
	return files.Bytes()
}

// slowLayer is an image with one layer that the registry gives in its own time.
type slowLayer struct {
	ref     string
	content []byte

	asked   chan struct{} // one for each request
	release chan struct{} // closed, and the rest comes
	left    chan struct{} // one for each request that was given up
	count   atomic.Int64
}

// pace gives some of a layer's rest, and returns what it has kept back.
type pace func(s *slowLayer, w http.ResponseWriter, r *http.Request, rest []byte) (kept []byte)

// slow gives the first half of a layer, and of the rest what the pace gives. What
// that keeps back comes with the release.
func (n *node) slow(name string, give pace) *slowLayer {
	n.Helper()
	g := n.gallery()
	e := g.image(name, n.bulk(name, 8<<20))
	s := &slowLayer{
		ref: g.tag(e, "1"), content: g.blob(name, e.layers[0]),
		asked: make(chan struct{}, 10), release: make(chan struct{}), left: make(chan struct{}, 10),
	}
	g.kept(n, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, e.layers[0]) || r.Method != http.MethodGet || r.Header.Get("Range") != "" {
			return false
		}
		s.serve(w, r, give)
		return true
	})
	return s
}

func (s *slowLayer) serve(w http.ResponseWriter, r *http.Request, give pace) {
	s.count.Add(1)
	w.Header().Set("Content-Length", fmt.Sprint(len(s.content)))
	half := len(s.content) / 2
	_, _ = w.Write(s.content[:half])
	w.(http.Flusher).Flush()
	s.asked <- struct{}{}
	kept := give(s, w, r, s.content[half:])
	if len(kept) == 0 {
		return
	}
	select {
	case <-s.release:
		_, _ = w.Write(kept)
	case <-r.Context().Done():
		s.left <- struct{}{}
	}
}

// stuck gives nothing more.
func stuck(_ *slowLayer, _ http.ResponseWriter, _ *http.Request, rest []byte) []byte { return rest }

// trickle gives a byte now and then. With a graph driver, an engine that is told
// to end a download notices at the next one.
func trickle(s *slowLayer, w http.ResponseWriter, r *http.Request, rest []byte) []byte {
	for {
		select {
		case <-s.release:
			return rest
		case <-r.Context().Done():
			return rest
		case <-time.After(lookEvery):
			_, _ = w.Write(rest[:1])
			w.(http.Flusher).Flush()
			rest = rest[1:]
		}
	}
}

// steady gives more at a time than the engine takes in before it tells, and
// never keeps it waiting for as long as a pull may stand still.
func steady(_ *slowLayer, w http.ResponseWriter, _ *http.Request, rest []byte) []byte {
	const portion = 5 << 18
	for len(rest) > 0 {
		<-time.After(pullPatience / 2)
		size := min(portion, len(rest))
		_, _ = w.Write(rest[:size])
		w.(http.Flusher).Flush()
		rest = rest[size:]
	}
	return nil
}

// await waits for a signal of the registry's.
func (n *node) await(what string, signal <-chan struct{}) {
	n.Helper()
	select {
	case <-signal:
	case <-time.After(patience):
		n.Fatalf("not within %s: %s", patience, what)
	}
}

// pullsGivenUp: one that stands still is, after the time that the flag gives it,
// and the engine's download ends as well.
func (n *node) pullsGivenUp() {
	wantStalled := func(n *node, ref string) {
		n.Helper()
		start := time.Now()
		_, err := n.pull(ref, nil)
		took := time.Since(start)
		n.wantRefused(err, codes.Unknown, wordAway)
		if took < pullPatience || took > pullPatience+patience || !strings.Contains(err.Error(), "--image-pull-progress-deadline") {
			n.Errorf("given up after %s: %v", took, err)
		}
		n.Logf("given up after %s", took)
	}
	n.sub("in a layer", func(n *node) {
		s := n.slow("stalled", stuck)
		wantStalled(n, s.ref)
		n.wantEngineLeaves(s.left)
		n.wantNoImage(s.ref)
		close(s.release)
		_, err := n.pull(s.ref, nil)
		n.must("the next attempt", err)
		n.must("RemoveImage", n.removeImage(s.ref))
	})
	n.sub("without a word", func(n *node) {
		g := n.gallery()
		ref := g.tag(g.image("silent", smallFiles(n, "silent")), "1")
		left := make(chan struct{}, 10)
		g.kept(n, func(_ http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			<-r.Context().Done()
			left <- struct{}{}
			return true
		})
		wantStalled(n, ref)
		n.wantEngineLeaves(left)
	})
}

// wantEngineLeaves waits until the engine closes a connection that stands still.
// With a graph driver it reads on, for nobody, until something comes.
func (n *node) wantEngineLeaves(left <-chan struct{}) {
	n.Helper()
	if onContainerd() {
		n.await("the engine leaves", left)
	}
}

// pullsNotGivenUp take longer than a pull may stand still, and do not.
func (n *node) pullsNotGivenUp() {
	n.sub("slow and steady", func(n *node) {
		s := n.slow("steady", steady)
		start := time.Now()
		_, err := n.pull(s.ref, nil)
		n.must("PullImage", err)
		if took := time.Since(start); took < 2*pullPatience {
			n.Errorf("took %s only", took)
		}
		n.must("RemoveImage", n.removeImage(s.ref))
	})
	n.sub("long to unpack", func(n *node) {
		g := n.gallery()
		ref := g.tag(g.image("crowded", n.crowd(30_000)), "1")
		start := time.Now()
		_, err := n.pull(ref, nil)
		n.must("PullImage", err)
		n.Logf("took %s", time.Since(start))
		n.must("RemoveImage", n.removeImage(ref))
	})
}

// crowd is a layer that is small to download and takes long to unpack.
func (n *node) crowd(files int) []byte {
	n.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for i := range files {
		n.must("write a file", w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d/%d", i/1000, i), Mode: 0o644}))
	}
	n.must("close", w.Close())
	return layer.Bytes()
}

// pullWithin pulls with a context of its own, in the background.
func (n *node) pullWithin(ctx context.Context, ref string) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := n.images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}})
		ended <- err
	}()
	return ended
}

// sharedPull ends with the last of its callers, and not with the first.
func (n *node) sharedPull() {
	n.sub("one leaves, one stays", func(n *node) {
		s := n.slow("shared", trickle)
		ctx, leave := context.WithCancel(n.Context())
		defer leave()
		leaves, stays := n.pullWithin(ctx, s.ref), n.pullWithin(n.Context(), s.ref)
		n.await("the layer is asked for", s.asked)
		leave()
		n.wantCode("who left", <-leaves, codes.Canceled)
		select {
		case err := <-stays:
			n.Fatalf("who stayed was sent away: %v", err)
		case <-s.left:
			n.Fatal("the download ended, though somebody waits for it")
		case <-time.After(pullPatience / 3):
		}
		close(s.release)
		n.must("who stayed", <-stays)
		if c := s.count.Load(); c != 1 {
			n.Errorf("the layer was downloaded %d times", c)
		}
		n.must("RemoveImage", n.removeImage(s.ref))
	})
	for name, end := range map[string]struct {
		context func(context.Context) (context.Context, context.CancelFunc)
		code    codes.Code
	}{
		"all leave": {context.WithCancel, codes.Canceled},
		"out of time": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, pullPatience/3)
		}, codes.DeadlineExceeded},
	} {
		n.sub(name, func(n *node) {
			s := n.slow(strings.ReplaceAll(name, " ", "-"), trickle)
			ctx, leave := end.context(n.Context())
			defer leave()
			one, other := n.pullWithin(ctx, s.ref), n.pullWithin(ctx, s.ref)
			n.await("the layer is asked for", s.asked)
			if end.code == codes.Canceled {
				leave()
			}
			n.wantCode("one", <-one, end.code)
			n.wantCode("the other", <-other, end.code)
			n.await("the engine leaves", s.left)
			n.wantNoImage(s.ref)
			close(s.release)
			_, err := n.pull(s.ref, nil)
			n.must("the next attempt", err)
			n.must("RemoveImage", n.removeImage(s.ref))
		})
	}
}

// TestPullsLeaveNothing counts goroutines and descriptors before and after pulls
// that end well, are refused, and are given up by their callers.
func TestPullsLeaveNothing(t *testing.T) {
	n := newNode(t)
	s := n.ownServer()
	g := n.gallery()
	small := g.tag(g.image("small", smallFiles(n, "small")), "1")
	slow := n.slow("leaving", trickle)
	pull := func(ctx context.Context, ref string) error {
		_, err := s.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}})
		return err
	}
	eventually(n, "the server answers", func() bool { return pull(n.Context(), small) == nil })
	var first, last tally
	for round := range 4 {
		ctx, cancel := context.WithCancel(n.Context())
		ended := make(chan error, 8)
		for range cap(ended) {
			go func() { ended <- pull(ctx, slow.ref) }()
		}
		n.await("the layer is asked for", slow.asked)
		n.must("pull again", pull(n.Context(), small))
		if pull(n.Context(), g.host+"/absent:1") == nil || pull(n.Context(), "127.0.0.1:1/absent:1") == nil {
			n.Error("what is not there was pulled")
		}
		cancel()
		for range cap(ended) {
			if err := <-ended; err == nil {
				n.Error("a pull that was given up succeeded")
			}
		}
		n.await("the engine leaves", slow.left)
		// The first round makes what is made once.
		if last = n.awaitQuiet(); round == 0 {
			first = last
		}
	}
	const kept = 4 // connections to the engine, each with two goroutines
	if last.goroutines > first.goroutines+2*kept || last.files > first.files+kept {
		stacks := make([]byte, 1<<20)
		n.Errorf("%+v, after one round there were %+v\n%s", last, first, stacks[:runtime.Stack(stacks, true)])
	}
	n.Logf("after one round %+v, after four %+v", first, last)
	n.must("RemoveImage", n.removeImage(small))
}
