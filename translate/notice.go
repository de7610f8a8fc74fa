// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
)

// Notice tells of something asked for that could not be honoured to the letter,
// and was not worth failing the request for. The caller logs it.
type Notice struct {
	// Field is the path of the CRI field, such as "config.linux.resources.oom_score_adj".
	Field string
	// Text says what was done instead.
	Text string
}

// problem is one reason to refuse a request.
type problem struct {
	text string
	kind error
}

// problems collects all that is wrong with a request, so that its author can
// mend it in one go.
type problems []problem

// add notes that the field has a value that nobody could honour.
func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, problem{field + ": " + fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument})
}

// lack notes that the node cannot do what the field asks for.
func (p *problems) lack(field, format string, args ...any) {
	*p = append(*p, problem{field + ": " + fmt.Sprintf(format, args...), errdefs.ErrFailedPrecondition})
}

// wrap notes an error that carries its own kind; nil is no problem.
func (p *problems) wrap(field string, err error) {
	if err != nil {
		*p = append(*p, problem{field + ": " + err.Error(), err})
	}
}

// problemError lists every problem and is of the first one's kind.
type problemError struct {
	text string
	kind error
}

func (e *problemError) Error() string { return e.text }
func (e *problemError) Unwrap() error { return e.kind }

// err is nil when there is no problem.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	texts := make([]string, len(p))
	for i, one := range p {
		texts[i] = one.text
	}
	return &problemError{strings.Join(texts, "; "), p[0].kind}
}
