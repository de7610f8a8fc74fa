// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// What Config means by zero.
const (
	DefaultIdleTimeout     = 4 * time.Hour
	DefaultCreationTimeout = 30 * time.Second
	DefaultDrainTime       = 10 * time.Second
)

// Config says where and how a Server serves.
type Config struct {
	// Addr is host:port or a bare host. "" is 127.0.0.1, port 0 any that is free.
	// URLs name the host as it is given here, and 127.0.0.1 if it means all
	// addresses: clients of the URLs are on this node.
	Addr string
	// CertFile and KeyFile make it TLS. Both are read again when they change.
	CertFile, KeyFile string
	// ClientCAFile demands client certificates signed by one of these authorities.
	// It is read again when it changes.
	ClientCAFile string
	// IdleTimeout ends sessions on which nothing moves; 0 is DefaultIdleTimeout.
	IdleTimeout time.Duration
	// CreationTimeout is how long a client may take to open its streams; 0 is
	// DefaultCreationTimeout.
	CreationTimeout time.Duration
	// DrainTime is how long sessions may go on at a stop; 0 is DefaultDrainTime.
	DrainTime time.Duration
}

// Validate reports all that is wrong with c at once, nil if nothing is. It does
// not read the files.
func (c Config) Validate() error {
	var errs []error
	if _, _, err := c.hostPort(); err != nil {
		errs = append(errs, err)
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("streaming certificate and key: one is of no use without the other"))
	}
	if c.ClientCAFile != "" && c.CertFile == "" {
		errs = append(errs, errors.New("streaming client authorities: clients show certificates in TLS only, which needs a certificate and a key"))
	}
	for _, d := range []struct {
		name string
		time.Duration
	}{{"idle timeout", c.IdleTimeout}, {"creation timeout", c.CreationTimeout}, {"drain time", c.DrainTime}} {
		if d.Duration < 0 {
			errs = append(errs, fmt.Errorf("streaming %s %s: is negative", d.name, d.Duration))
		}
	}
	return errors.Join(errs...)
}

// hostPort are the parts of Addr.
func (c Config) hostPort() (host, port string, err error) {
	if c.Addr == "" {
		return "127.0.0.1", "0", nil
	}
	host, port, err = net.SplitHostPort(c.Addr)
	if err != nil { // a bare host, if it is valid at all
		host, port = strings.TrimSuffix(strings.TrimPrefix(c.Addr, "["), "]"), "0"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("streaming address %q: port %q is not a number up to 65535", c.Addr, port)
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(host, ":[]/ ") {
		return "", "", fmt.Errorf("streaming address %q: is not host:port, such as 127.0.0.1:0 or [::1]:10010", c.Addr)
	}
	return host, port, nil
}

// withDefaults puts the defaults where c has zeros.
func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&c.IdleTimeout, DefaultIdleTimeout},
		{&c.CreationTimeout, DefaultCreationTimeout},
		{&c.DrainTime, DefaultDrainTime},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	return c
}
