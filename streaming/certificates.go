// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"sync"

	"k8s.io/klog/v2"
)

// certificates hold the TLS configuration that their files say, and notice when
// those change: nodes rotate certificates without restarting daemons.
type certificates struct {
	certFile, keyFile, clientCAFile string

	mu      sync.Mutex
	current *tls.Config   // of the last files that were valid
	seen    []os.FileInfo // of the last look, nil for a file that was not there
}

// loadCertificates reads the files for the first time, when they have to be
// valid. Without TLS it returns nil.
func loadCertificates(c Config) (*certificates, error) {
	if c.CertFile == "" {
		return nil, nil
	}
	certs := &certificates{certFile: c.CertFile, keyFile: c.KeyFile, clientCAFile: c.ClientCAFile}
	certs.seen = certs.look()
	var err error
	if certs.current, err = certs.load(); err != nil {
		return nil, err
	}
	return certs, nil
}

// config is what a server serves with: for each client what the files say then.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return c.latest(hello.Context()), nil },
	}
}

// latest looks whether the files have changed. Ones that are not valid, such as
// a new certificate whose key is still to come, leave things as they are; each
// change is logged once.
func (c *certificates) latest(ctx context.Context) *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The look comes before the reading, so that a change between the two is seen
	// by the next one.
	found := c.look()
	if slices.EqualFunc(found, c.seen, sameFile) {
		return c.current
	}
	c.seen = found
	config, err := c.load()
	if err != nil {
		klog.FromContext(ctx).Error(err, "changed streaming certificate not taken, serving with the one before")
		return c.current
	}
	c.current = config
	klog.FromContext(ctx).Info("changed streaming certificate taken", "file", c.certFile)
	return c.current
}

func (c *certificates) look() (found []os.FileInfo) {
	for _, name := range []string{c.certFile, c.keyFile, c.clientCAFile} {
		info, err := os.Stat(name)
		if err != nil {
			info = nil
		}
		found = append(found, info)
	}
	return found
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (c *certificates) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("load streaming certificate %s and key %s: %w", c.certFile, c.keyFile, err)
	}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"http/1.1"},
		// A resumed session would go on with certificates that have been replaced.
		SessionTicketsDisabled: true,
	}
	if c.clientCAFile == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.clientCAFile)
	if err != nil {
		return nil, fmt.Errorf("load streaming client authorities: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("load streaming client authorities %s: there is no PEM certificate in it", c.clientCAFile)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config, nil
}
