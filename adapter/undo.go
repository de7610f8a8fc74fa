// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"fmt"
	"time"
)

// undoTime bounds a rollback. It is long enough for a CNI DEL, and with the
// kubelet's own deadline still within its patience.
const undoTime = 30 * time.Second

// undo is a list of steps that take back what a method has done so far.
type undo []undoStep

type undoStep struct {
	what string
	step func(context.Context) error
}

// add notes how to take back the step that is about to be tried or was done.
func (u *undo) add(what string, step func(context.Context) error) {
	*u = append(*u, undoStep{what, step})
}

// onError takes everything back when *err is set: newest first, past failing
// steps, on a deadline of its own, since the caller's may be why we are here.
// What fails is added to the text of *err; its kind stays that of the first cause.
func (u *undo) onError(ctx context.Context, err *error) {
	if *err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	for i := len(*u) - 1; i >= 0; i-- {
		s := (*u)[i]
		if failed := s.step(ctx); failed != nil {
			*err = fmt.Errorf("%w (then, to take it back: %s: %v)", *err, s.what, failed)
		}
	}
}
