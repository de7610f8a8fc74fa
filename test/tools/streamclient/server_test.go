// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"
)

// fakeRuntime answers as a container would.
type fakeRuntime struct{}

// Exec knows a few commands.
func (fakeRuntime) Exec(_ context.Context, _ string, cmd []string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	switch cmd[0] {
	case "greet": // reads a line, since websocket clients cannot end their input
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil {
			return err
		}
		fmt.Fprint(out, "hello "+line)
		fmt.Fprint(errs, "an error\n")
	case "cat":
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	case "sizes":
		fmt.Fprint(out, tty)
		for range 3 {
			size := <-resize
			fmt.Fprintf(out, " %dx%d", size.Width, size.Height)
		}
	case "much":
		_, err := out.Write(make([]byte, 8<<20))
		return err
	case "exit":
		return exec.CodeExitError{Err: errors.New("exit"), Code: 7}
	default:
		return errors.New("no such command")
	}
	return nil
}

// Attach finds a container that greets.
func (r fakeRuntime) Attach(ctx context.Context, id string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	return r.Exec(ctx, id, []string{"greet"}, in, out, errs, tty, resize)
}

// PortForward finds a server that tells its port and then repeats what it hears.
func (fakeRuntime) PortForward(_ context.Context, _ string, port int32, stream io.ReadWriteCloser) error {
	fmt.Fprintf(stream, "port %d\n", port)
	_, err := io.Copy(stream, stream)
	return err
}

// fakeServer serves the URLs of the fake runtime.
type fakeServer struct {
	*testing.T
	streaming.Server
	http *httptest.Server
}

// newServer starts one; with TLS where it is configured.
func newServer(t *testing.T, config *tls.Config) *fakeServer {
	t.Helper()
	s := &fakeServer{T: t, http: httptest.NewUnstartedServer(nil)}
	base := &url.URL{Scheme: "http", Host: s.http.Listener.Addr().String(), Path: "/"}
	if config != nil {
		base.Scheme = "https"
	}
	settings := streaming.DefaultConfig
	settings.BaseURL = base
	var err error
	s.Server, err = streaming.NewServer(settings, fakeRuntime{})
	s.must(err)
	s.http.Config.Handler = s.Server
	s.http.Config.ErrorLog = log.New(t.Output(), "server: ", 0)
	if config == nil {
		s.http.Start()
	} else {
		s.http.TLS = config
		s.http.StartTLS()
	}
	t.Cleanup(s.http.Close)
	return s
}

// execURL is for a command without a terminal.
func (s *fakeServer) execURL(cmd ...string) string {
	s.Helper()
	r, err := s.GetExec(&cri.ExecRequest{ContainerId: "c", Cmd: cmd, Stdin: true, Stdout: true, Stderr: true})
	s.must(err)
	return r.GetUrl()
}

// certificateFiles are the server's certificate and its key.
func (s *fakeServer) certificateFiles() (cert, key string) {
	s.Helper()
	c := s.http.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	s.must(err)
	return s.pemFile("CERTIFICATE", c.Certificate[0]), s.pemFile("PRIVATE KEY", der)
}

func (s *fakeServer) pemFile(kind string, der []byte) string {
	s.Helper()
	file := filepath.Join(s.TempDir(), "file.pem")
	s.must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

func (s *fakeServer) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}
