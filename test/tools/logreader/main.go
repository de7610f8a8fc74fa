// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	internalapi "k8s.io/cri-api/pkg/apis"
	remote "k8s.io/cri-client/pkg"
	"k8s.io/cri-client/pkg/logs"
)

// callTime is the kubelet's default for a call of the runtime.
const callTime = 2 * time.Minute

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	err := read(ctx, args, out, errs)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	}
	fmt.Fprintln(errs, "logreader:", err)
	return 1
}

// read looks at the container first and then reads its log, as the kubelet does.
func read(ctx context.Context, args []string, out, errs io.Writer) error {
	r, err := parse(args, time.Now(), errs)
	if err != nil {
		return err
	}
	if err := setLog(r.log); err != nil {
		return err
	}
	var runtime internalapi.RuntimeService
	if r.endpoint != "" {
		if runtime, err = remote.NewRemoteRuntimeService(ctx, r.endpoint, callTime, nil, false); err != nil {
			return err
		}
		defer runtime.Close(ctx)
	}
	if r.path == "" {
		if r.path, err = logPath(ctx, runtime, r.container); err != nil {
			return err
		}
	}
	// The reader leaves out a stream that has no writer.
	switch r.stream {
	case "Stdout":
		errs = nil
	case "Stderr":
		out = nil
	}
	return logs.ReadLogs(ctx, r.path, r.container, &r.options, runtime, out, errs)
}

// logPath asks the runtime where the log is.
func logPath(ctx context.Context, runtime internalapi.RuntimeService, container string) (string, error) {
	status, err := runtime.ContainerStatus(ctx, container, false)
	if err != nil {
		return "", err
	}
	path := status.GetStatus().GetLogPath()
	if path == "" {
		return "", fmt.Errorf("the status of container %s has no log path", container)
	}
	return path, nil
}
