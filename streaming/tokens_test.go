// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

func TestTokens(t *testing.T) {
	now := time.Now()
	tokens := newTokens()
	tokens.now = func() time.Time { return now }
	issue := func() string { return must(tokens.issue(doorExec, "request"))(t) }
	refuse := func(door, token, want string) {
		t.Helper()
		if r, err := tokens.take(door, token); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("take %s: %v, %v, want %q", door, r, err, want)
		}
	}

	token := issue()
	if r, err := tokens.take(doorExec, token); r != "request" || err != nil {
		t.Errorf("take: %v, %v", r, err)
	}
	refuse(doorExec, token, "used before")
	refuse(doorExec, "", "not whole")
	token = issue()
	refuse(doorExec, token[:10], "not whole")
	refuse(doorExec, token+"x", "not whole")
	refuse(doorAttach, token, "is for exec, not attach")
	refuse(doorExec, token, "unknown")

	token = issue()
	now = now.Add(tokenTime - 1)
	if _, err := tokens.take(doorExec, token); err != nil {
		t.Errorf("take at the last moment: %v", err)
	}
	token = issue()
	now = now.Add(tokenTime)
	refuse(doorExec, token, "has expired")
}

func TestTokensRunOut(t *testing.T) {
	now := time.Now()
	tokens := newTokens()
	tokens.now = func() time.Time { return now }
	seen := map[string]bool{}
	for range maxTokens {
		seen[must(tokens.issue(doorExec, nil))(t)] = true
	}
	if len(seen) != maxTokens {
		t.Errorf("%d tokens of %d differ", len(seen), maxTokens)
	}
	_, err := tokens.issue(doorExec, nil)
	if !errdefs.IsResourceExhausted(err) || !strings.Contains(err.Error(), "try again") {
		t.Errorf("the token after the last one: %v", err)
	}
	now = now.Add(tokenTime)
	if _, err := tokens.issue(doorExec, nil); err != nil {
		t.Errorf("a token when the others have expired: %v", err)
	}
	if len(tokens.issued) != 1 {
		t.Errorf("%d tokens are kept", len(tokens.issued))
	}
}
