// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key))(t)
	a.cert = must(x509.ParseCertificate(der))(t)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) sign(t testing.TB, name string) (cert, key []byte) {
	t.Helper()
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key))(t)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(private))(t)})
}

// tlsFiles is a Config with files that were just written.
func tlsFiles(t testing.TB, a *authority) Config {
	t.Helper()
	dir := t.TempDir()
	c := Config{CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key"), ClientCAFile: filepath.Join(dir, "ca")}
	cert, key := a.sign(t, "first")
	replace(t, c.CertFile, cert)
	replace(t, c.KeyFile, key)
	replace(t, c.ClientCAFile, a.pem)
	return c
}

// replace puts a new file in the place of an old one, as those do who rotate.
func replace(t testing.TB, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func clientConfig(t testing.TB, a *authority) *tls.Config {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AddCert(a.cert)
	pair := must(tls.X509KeyPair(a.sign(t, "client")))(t)
	config.Certificates = []tls.Certificate{pair}
	return config
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	for _, mutual := range []bool{false, true} {
		c := tlsFiles(t, a)
		if !mutual {
			c.ClientCAFile = ""
		}
		backend := &fake{exec: echo, port: upper}
		server := start(t, c, backend)
		r := execAll
		rawURL := must(server.ExecURL(r))(t)
		if !strings.HasPrefix(rawURL, "https://127.0.0.1:") {
			t.Errorf("the URL is %s", rawURL)
		}
		config := clientConfig(t, a)
		conn := must(tls.Dial("tcp", server.Addr().String(), config))(t)
		t.Cleanup(func() { conn.Close() })
		s := openSPDYOn(t, conn, rawURL, remotecommand.StreamProtocolV4Name, typesOf(r)...)
		_, _ = s.streams["stdin"].Write([]byte("ping and more that nobody reads"))
		if got := readAll(t, s.streams["stdout"]); got != "ping" {
			t.Errorf("stdout is %q", got)
		}
		if got := readAll(t, s.streams["error"]); got != exit3 {
			t.Errorf("status is %s", got)
		}

		c5 := &channels{t: t, ws: dialWebSocketTLS(t, config, must(server.ExecURL(r))(t), v5)}
		c5.send(0, "ping")
		if got := c5.receive(); got[1] != "ping" || got[3] != exit3 {
			t.Errorf("channels are %v", got)
		}
		tunnel := tunnelled{dialWebSocketTLS(t, config, must(server.PortForwardURL(&cri.PortForwardRequest{PodSandboxId: "s1"}))(t), tunnelOfSPDY)}
		data, _ := forwardOn(t, tunnel, tunnel).connect(1, "80")
		fmt.Fprint(data, "ping")
		data.Close()
		if got := readAll(t, data); got != "80PING" {
			t.Errorf("the tunnel carries %q", got)
		}

		config.MaxVersion = tls.VersionTLS11
		if conn, err := tls.Dial("tcp", server.Addr().String(), config); err == nil {
			conn.Close()
			t.Error("TLS 1.1 is accepted")
		}
		stranger := clientConfig(t, a)
		stranger.Certificates = clientConfig(t, newAuthority(t)).Certificates
		if err := ask(server, stranger); (err != nil) != mutual {
			t.Errorf("a client with a certificate of somebody else, mutual %v: %v", mutual, err)
		}
		stranger.Certificates = nil
		if err := ask(server, stranger); (err != nil) != mutual {
			t.Errorf("a client without a certificate, mutual %v: %v", mutual, err)
		}
	}
}

// ask sends a request and waits for an answer: with TLS 1.3 a server refuses
// after the client's handshake.
func ask(server *running, config *tls.Config) error {
	conn, err := tls.Dial("tcp", server.Addr().String(), config)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// TestTLSClientVanishes looks through TLS at the TCP connection below.
func TestTLSClientVanishes(t *testing.T) {
	a := newAuthority(t)
	backend, f := newStuck()
	server := start(t, tlsFiles(t, a), f)
	for _, unread := range []int{1 << 10, 8 << 20} {
		conn := must(tls.Dial("tcp", server.Addr().String(), clientConfig(t, a)))(t)
		s := openSPDYOn(t, conn, must(server.ExecURL(execAll))(t), remotecommand.StreamProtocolV4Name, typesOf(execAll)...)
		wait(t, "exec", backend.begun)
		sent := flood(conn, unread, func(b []byte) error { _, err := s.streams["stdin"].Write(b); return err })
		conn.NetConn().Close()
		if err := wait(t, "the end of exec", backend.cause); err != errGone {
			t.Errorf("the cause is %v", err)
		}
		wait(t, "the end of the flood", sent)
	}
}

func TestCertificatesChange(t *testing.T) {
	a := newAuthority(t)
	c := tlsFiles(t, a)
	c.ClientCAFile = ""
	server := start(t, c, &fake{})
	serves := func(want string) {
		t.Helper()
		conn := must(tls.Dial("tcp", server.Addr().String(), clientConfig(t, a)))(t)
		defer conn.Close()
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("the certificate is %q, want %q", got, want)
		}
	}
	logged := func(text string, want int) {
		t.Helper()
		if got := strings.Count(server.log.String(), text); got != want {
			t.Errorf("%q is in the log %d times, want %d:\n%s", text, got, want, server.log)
		}
	}
	serves("first")

	cert, key := a.sign(t, "second")
	replace(t, c.CertFile, cert) // without its key
	serves("first")
	serves("first")
	logged("not taken", 1)
	replace(t, c.KeyFile, key)
	serves("second")
	serves("second")
	logged("certificate taken", 1)

	replace(t, c.KeyFile, []byte("torn"))
	serves("second")
	if err := os.Remove(c.CertFile); err != nil {
		t.Fatal(err)
	}
	serves("second")
	serves("second")
	logged("not taken", 3)
}

func TestCertificatesThatAreBad(t *testing.T) {
	a := newAuthority(t)
	for _, spoil := range []func(*Config){
		func(c *Config) { c.CertFile += "x" },
		func(c *Config) { replace(t, c.KeyFile, []byte("torn")) },
		func(c *Config) { c.ClientCAFile += "x" },
		func(c *Config) { replace(t, c.ClientCAFile, []byte("torn")) },
	} {
		c := tlsFiles(t, a)
		spoil(&c)
		if s, err := New(c); err == nil {
			s.Close()
			t.Error("New accepts bad files")
		}
	}
}

func TestClientAuthoritiesChange(t *testing.T) {
	a := newAuthority(t)
	c := tlsFiles(t, a)
	certs := must(loadCertificates(c))(t)
	before := certs.latest(context.Background())
	replace(t, c.ClientCAFile, []byte("torn"))
	if certs.latest(context.Background()) != before {
		t.Error("a torn file of authorities has been taken")
	}
	replace(t, c.ClientCAFile, newAuthority(t).pem)
	if after := certs.latest(context.Background()); after == before || after.ClientCAs.Equal(before.ClientCAs) {
		t.Error("a new file of authorities has not been taken")
	}
}
