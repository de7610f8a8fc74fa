// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// hosts are the registries that this one is for the engine; see rig.sh.
var hosts = []string{"registry.k8s.io", "k8s.gcr.io", "gcr.io"}

// serveImages puts images into a registry that answers for the hosts.
func serveImages(t *testing.T, images map[string]v1.ImageIndex) {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	certificate := trusted(t)
	listener, err := net.Listen("tcp", "127.0.0.1:443")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}, ErrorLog: log.New(io.Discard, "", 0)}
	go server.ServeTLS(listener, "", "")
	t.Cleanup(func() { server.Close() })

	pool := x509.NewCertPool()
	pool.AddCert(certificate.Leaf)
	client := remote.WithTransport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}})
	for ref, index := range images {
		tag, err := name.NewTag(ref)
		if err == nil {
			err = remote.WriteIndex(tag, index, client)
		}
		if err != nil {
			t.Fatalf("push %s: %v", ref, err)
		}
	}
}

// trusted is a certificate for the hosts, which the engine trusts: rig.sh has
// made the folders, in an /etc that the rig alone sees.
func trusted(t *testing.T) tls.Certificate {
	t.Helper()
	certificate := selfSigned(t)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	for _, host := range hosts {
		must(t, os.WriteFile(filepath.Join("/etc/docker/certs.d", host, "ca.crt"), authority, 0o644))
	}
	return certificate
}

// selfSigned is a certificate for the hosts, and its own authority.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: hosts, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
