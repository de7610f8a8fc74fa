// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// server says how to reach one.
type server struct {
	url      string
	protocol string
	tls      rest.TLSClientConfig
	log      int
}

// newFlags are the flags that all verbs have.
func newFlags(verb, protocols string, log int, std streams) (*flag.FlagSet, *server) {
	s := &server{}
	f := flag.NewFlagSet(verb, flag.ContinueOnError)
	f.SetOutput(std.err)
	f.StringVar(&s.url, "url", "", "the URL that the CRI call returned")
	f.StringVar(&s.protocol, "protocol", "spdy", protocols)
	f.StringVar(&s.tls.CAFile, "ca", "", "file with the certificates to check the server's against, instead of the system's")
	f.StringVar(&s.tls.CertFile, "cert", "", "file with the client certificate")
	f.StringVar(&s.tls.KeyFile, "key", "", "file with its key")
	f.StringVar(&s.tls.ServerName, "server-name", "", "the name to look for in the server's certificate, instead of the URL's host")
	f.IntVar(&s.log, "log", log, "write client-go's log up to this verbosity to standard error; -1 writes none")
	return f, s
}

// dial is what client-go needs to reach the server.
func (s *server) dial() (*rest.Config, *url.URL, error) {
	if err := setLog(s.log); err != nil {
		return nil, nil, err
	}
	if s.url == "" {
		return nil, nil, errors.New("--url is missing")
	}
	u, err := url.Parse(s.url)
	if err != nil {
		return nil, nil, fmt.Errorf("--url: %w", err)
	}
	// A proxy that the environment names is for the outside world, and would
	// be in the way to a node's own address.
	direct := func(*http.Request) (*url.URL, error) { return nil, nil }
	return &rest.Config{TLSClientConfig: s.tls, Proxy: direct}, u, nil
}

// setLog chooses how much of client-go's log is seen. It has no other way to
// tell of some errors, such as input that could not be sent.
func setLog(level int) error {
	if level < 0 {
		klog.SetLogger(klog.Logger{}) // drops everything
		return nil
	}
	f := flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(f)
	return f.Set("v", strconv.Itoa(level))
}
