// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/dockershimd/dockershimd/translate"
)

// killedForMemory tells whether the kernel killed a container that has ended for
// want of memory. On cgroup version 1 the engine learns of it only if the
// container has run for some milliseconds before: in one of ten that end at
// once, it does not. The kernel's log has them all.
func (s *Server) killedForMemory(a answer) bool {
	if !translate.KilledBySomebody(a.inspect) || s.stopping.has(a.id()) {
		return false
	}
	killed, err := inKernelLog(kernelLog, "oom-kill:", a.id())
	if err != nil {
		s.log.V(4).Info("kernel's log not readable: a kill for want of memory may go unseen", "container", a.id(), "reason", err.Error())
	}
	return killed
}

// kernelLog has a record per read, and none to wait for once all are read
// (Documentation/ABI/testing/dev-kmsg).
const kernelLog = "/dev/kmsg"

// maxRecord is the kernel's own bound of a record (CONSOLE_EXT_LOG_MAX).
const maxRecord = 8 << 10

// inKernelLog tells whether a record has both texts.
func inKernelLog(path, kind, id string) (bool, error) {
	log, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(log)
	record := make([]byte, maxRecord)
	for {
		n, err := unix.Read(log, record)
		switch {
		case errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EINTR):
			continue // a record was overwritten; the next is the oldest that is left
		case errors.Is(err, unix.EAGAIN) || n == 0 && err == nil:
			return false, nil
		case err != nil:
			return false, os.NewSyscallError("read "+path, err)
		}
		if text := record[:n]; bytes.Contains(text, []byte(kind)) && bytes.Contains(text, []byte(id)) {
			return true, nil
		}
	}
}
