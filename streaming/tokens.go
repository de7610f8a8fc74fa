// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

const (
	// tokenTime is how long a URL is good for. The kubelet goes there at once.
	tokenTime = time.Minute
	// maxTokens bounds what a client that asks and never comes can pile up.
	maxTokens = 1000
)

// tokens are the requests that clients have not come for yet.
type tokens struct {
	now func() time.Time

	mu     sync.Mutex
	issued map[string]ticket
}

// ticket is what a token stands for.
type ticket struct {
	door    string // the only one it opens
	request any
	expires time.Time
}

func newTokens() *tokens {
	return &tokens{now: time.Now, issued: map[string]ticket{}}
}

// issue returns a token for a request.
func (t *tokens) issue(door string, request any) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for token, k := range t.issued {
		if !now.Before(k.expires) {
			delete(t.issued, token)
		}
	}
	if len(t.issued) >= maxTokens {
		return "", fmt.Errorf("%s: %d URLs wait for their clients, which is as many as may; try again within %s, when those that nobody comes for have expired: %w",
			door, len(t.issued), tokenTime, errdefs.ErrResourceExhausted)
	}
	token := rand.Text() // 130 bits
	t.issued[token] = ticket{door: door, request: request, expires: now.Add(tokenTime)}
	return token, nil
}

// take redeems a token. It is used up by that, whatever comes of it, even at the
// wrong door: a token that turns up where it does not belong has been in other
// hands. An error is for the client to read.
func (t *tokens) take(door, token string) (any, error) {
	t.mu.Lock()
	k, found := t.issued[token]
	delete(t.issued, token)
	t.mu.Unlock()
	switch {
	case len(token) != len(rand.Text()):
		return nil, errors.New("the token in the URL is not whole: copy all of the URL")
	case !found:
		return nil, fmt.Errorf("the token in the URL is unknown: it has been used before, is older than %s, or is from before a restart; ask for a new URL", tokenTime)
	case !t.now().Before(k.expires):
		return nil, fmt.Errorf("the token in the URL has expired, %s after it was given out; ask for a new URL", tokenTime)
	case k.door != door:
		return nil, fmt.Errorf("the token in the URL is for %s, not %s, and is used up now; ask for a new URL", k.door, door)
	}
	return k.request, nil
}
