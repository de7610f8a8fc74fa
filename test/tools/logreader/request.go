// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"

	"k8s.io/cri-client/pkg/logs"
	"k8s.io/klog/v2"
)

// request is which log to read, and which part of it.
type request struct {
	endpoint, container, path string
	stream                    string
	options                   logs.LogOptions
	log                       int
}

// parse reads the arguments. Sensible are those that the kubelet lets pass, see
// ValidatePodLogOptions in k8s.io/kubernetes/pkg/apis/core/validation.
func parse(args []string, now time.Time, errs io.Writer) (*request, error) {
	r := &request{}
	f := flag.NewFlagSet("logreader", flag.ContinueOnError)
	f.SetOutput(errs)
	f.StringVar(&r.endpoint, "endpoint", "", "the runtime's address, unix:///...")
	f.StringVar(&r.container, "container", "", "the container's id")
	f.StringVar(&r.path, "path", "", "the log's `file`; default: what the runtime says")
	f.StringVar(&r.stream, "stream", "All", "All, Stdout or Stderr")
	f.BoolVar(&r.options.Follow, "follow", false, "go on until the container ends")
	f.BoolVar(&r.options.Timestamp, "timestamps", false, "begin each line with its time")
	number(f, "tail", 0, "only the last `N` lines", func(n int64) { r.options.TailLines = &n })
	number(f, "limit-bytes", 1, "only the first `N` bytes", func(n int64) { r.options.LimitBytes = &n })
	var ago, since time.Time
	number(f, "since-seconds", 1, "only what is at most `N` seconds old", func(n int64) { ago = now.Add(-time.Duration(n) * time.Second) })
	f.Func("since-time", "only what is not older than the `time`, in RFC 3339", func(text string) (err error) {
		since, err = time.Parse(time.RFC3339Nano, text)
		return err
	})
	// Standard error belongs to the container, so no log by default.
	f.IntVar(&r.log, "log", -1, "write the reader's log up to this verbosity to standard error; -1 writes none")
	if err := f.Parse(args); err != nil {
		return nil, err
	}

	r.options.Since = ago
	if !since.IsZero() {
		r.options.Since = since
	}
	byRuntime := r.endpoint != "" && r.container != ""
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("what is %q?", f.Arg(0))
	case r.path == "" && !byRuntime:
		return nil, errors.New("--path, or --endpoint and --container, say which log")
	case r.options.Follow && !byRuntime:
		return nil, errors.New("--follow asks --endpoint whether --container runs")
	case !ago.IsZero() && !since.IsZero():
		return nil, errors.New("--since-seconds and --since-time exclude each other")
	case r.stream != "All" && r.stream != "Stdout" && r.stream != "Stderr":
		return nil, fmt.Errorf("no stream %q: there are All, Stdout and Stderr", r.stream)
	case r.stream != "All" && r.options.TailLines != nil:
		return nil, errors.New("--tail is for all streams only")
	}
	return r, nil
}

// number is a flag for which being absent is no number.
func number(f *flag.FlagSet, name string, least int64, usage string, set func(int64)) {
	f.Func(name, usage, func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		if err == nil && n < least {
			err = fmt.Errorf("less than %d", least)
		}
		if err == nil {
			set(n)
		}
		return err
	})
}

// setLog chooses how much of the reader's log is seen. It has no other way to
// tell of a line that it cannot read.
func setLog(level int) error {
	if level < 0 {
		klog.SetLogger(klog.Logger{}) // drops everything
		return nil
	}
	f := flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(f)
	return f.Set("v", strconv.Itoa(level))
}
