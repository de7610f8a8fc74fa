// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"os"
)

// Holds tells whether the network namespace pinned for sandbox id is the one
// that process pid runs in. It is not when the pause process was started anew
// behind our back, or when there is no pin.
func (n *Network) Holds(id string, pid int) bool {
	pinned, err := os.Stat(n.Path(id))
	if err != nil {
		return false
	}
	own, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	return err == nil && os.SameFile(pinned, own)
}
