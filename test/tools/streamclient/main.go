// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"k8s.io/client-go/util/exec"
)

// failed is the exit code for any error but the command's own exit code, which
// the shells and engines we meet do not use.
const failed = 250

const usage = "usage: streamclient exec|attach|forward --url URL [FLAG...]; each has --help"

// streams are what a process has three of.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	err := runVerb(ctx, args, std)
	var exit exec.CodeExitError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &exit):
		return exit.Code
	}
	fmt.Fprintln(std.err, "streamclient:", err)
	return failed
}

func runVerb(ctx context.Context, args []string, std streams) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch verb := args[0]; verb {
	case "exec", "attach":
		return stream(ctx, verb, args[1:], std)
	case "forward":
		return forward(ctx, args[1:], std)
	default:
		return fmt.Errorf("no %q: %s", verb, usage)
	}
}
