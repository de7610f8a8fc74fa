// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// certificate makes a key and a certificate that signs itself, for server and
// client alike.
func certificate(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: signed}, keyFile: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestStreamsByTLS has clients show certificates.
func TestStreamsByTLS(t *testing.T) {
	needRig(t)
	server, serverKey := certificate(t, "server")
	known, knownKey := certificate(t, "known")
	stranger, strangerKey := certificate(t, "stranger")
	n := newNode(t, "--streaming-bind-addr=127.0.0.1:19443",
		"--streaming-tls-cert-file="+server, "--streaming-tls-key-file="+serverKey, "--streaming-client-ca-file="+known)
	c := n.pod().steady()
	run := func(protocol, certFile, keyFile string) result {
		r, err := n.runtime.Exec(n.Context(), &cri.ExecRequest{ContainerId: c.id, Cmd: []string{"sh", "-c", "echo safe; exit 6"}, Stdout: true, Stderr: true})
		n.must("Exec", err)
		if !strings.HasPrefix(r.GetUrl(), "https://127.0.0.1:19443/exec/") {
			n.Errorf("URL %s", r.GetUrl())
		}
		s := session{protocol: protocol, flags: []string{"--ca", server}}
		if certFile != "" {
			s.flags = append(s.flags, "--cert", certFile, "--key", keyFile)
		}
		return n.runClient(n.client("exec", r.GetUrl(), s), 0)
	}
	for _, protocol := range protocols {
		if got := run(protocol, known, knownKey); string(got.stdout) != "safe\n" || got.code != 6 {
			n.Errorf("%s with a known certificate: %s", protocol, got)
		}
		for what, got := range map[string]result{"a strange certificate": run(protocol, stranger, strangerKey), "no certificate": run(protocol, "", "")} {
			if got.code != clientFailed || len(got.stdout) > 0 {
				n.Errorf("%s with %s: %s", protocol, what, got)
			}
		}
	}
	if out := n.crictl("exec", "--tls-ca", server, "--tls-cert", known, "--tls-key", knownKey, "--tls-server-name", "127.0.0.1", c.id, "echo", "by hand"); out != "by hand\n" {
		n.Errorf("crictl says %q", out)
	}
}
