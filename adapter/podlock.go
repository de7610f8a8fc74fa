// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"sync"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// podLocks is one lock per pod, which exists only while somebody wants it.
type podLocks struct {
	mu    sync.Mutex
	locks map[podKey]*podLock
}

// podKey identifies a pod; the attempts of its sandboxes share a lock.
type podKey struct{ namespace, name, uid string }

type podLock struct {
	held chan struct{} // capacity 1: full while held
	refs int           // holders and waiters
}

func keyOf(m *cri.PodSandboxMetadata) podKey {
	return podKey{m.GetNamespace(), m.GetName(), m.GetUid()}
}

// lock waits for the pod's lock until ctx ends. The caller must call unlock.
func (l *podLocks) lock(ctx context.Context, pod podKey) (unlock func(), err error) {
	p := l.claim(pod)
	select {
	case p.held <- struct{}{}:
		return func() {
			<-p.held
			l.release(pod, p)
		}, nil
	case <-ctx.Done():
		l.release(pod, p)
		return nil, ctx.Err()
	}
}

func (l *podLocks) claim(pod podKey) *podLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.locks[pod]
	if p == nil {
		p = &podLock{held: make(chan struct{}, 1)}
		if l.locks == nil {
			l.locks = map[podKey]*podLock{}
		}
		l.locks[pod] = p
	}
	p.refs++
	return p
}

func (l *podLocks) release(pod podKey, p *podLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.refs--; p.refs == 0 {
		delete(l.locks, pod)
	}
}
