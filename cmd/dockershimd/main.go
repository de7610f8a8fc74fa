// SPDX-License-Identifier: Apache-2.0

// Command dockershimd lets a kubelet use Docker Engine: it serves CRI on a
// socket and runs pods through the Engine API.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker (see the Makefile).
var version = "unreleased"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dockershimd:", err)
		os.Exit(1)
	}
}
