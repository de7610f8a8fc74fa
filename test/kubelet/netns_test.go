// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNetwork does something in the network of the container. What listens there
// goes on to do so afterwards.
func (c *container) inNetwork(do func() error) {
	c.Helper()
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.pid()))
	c.must("open the namespace", err)
	defer namespace.Close()
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	c.must("open the node's namespace", err)
	defer own.Close()
	c.must("enter the container's network", unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET))
	problem := do()
	// A thread that cannot go back stays locked, and ends with the test.
	c.must("leave the container's network", unix.Setns(int(own.Fd()), unix.CLONE_NEWNET))
	runtime.UnlockOSThread()
	c.must("in the container's network", problem)
}
