// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"errors"
	"fmt"
	"testing"

	"github.com/containerd/errdefs"
)

func TestProblems(t *testing.T) {
	engine := fmt.Errorf("needs a newer engine: %w", errdefs.ErrFailedPrecondition)
	for _, c := range []struct {
		about string
		note  func(*problems)
		text  string
		kind  error
	}{
		{"one of the request", func(p *problems) { p.add("a", "%q is bad", "x") }, `a: "x" is bad`, errdefs.ErrInvalidArgument},
		{"one of the node", func(p *problems) { p.lack("a", "is missing") }, "a: is missing", errdefs.ErrFailedPrecondition},
		{"one that has a kind", func(p *problems) { p.wrap("a", engine) }, "a: needs a newer engine: failed precondition", errdefs.ErrFailedPrecondition},
		{"several are of the first one's kind", func(p *problems) {
			p.lack("a", "is missing")
			p.add("b", "is bad")
			p.wrap("c", nil)
		}, "a: is missing; b: is bad", errdefs.ErrFailedPrecondition},
	} {
		var p problems
		c.note(&p)
		err := p.err()
		if err == nil || err.Error() != c.text {
			t.Errorf("%s: %v, want %s", c.about, err, c.text)
		}
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: is not of the kind %v", c.about, c.kind)
		}
	}
}

func TestNoProblems(t *testing.T) {
	var p problems
	p.wrap("a", nil)
	if err := p.err(); err != nil {
		t.Errorf("no problem is an error: %v", err)
	}
}
