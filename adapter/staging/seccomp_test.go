// SPDX-License-Identifier: Apache-2.0

package staging

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func setSeccomp(program *unix.SockFprog) error {
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(program)), 0, 0)
}
