// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// TestMuchData sends 10 MiB each way at once.
func TestMuchData(t *testing.T) {
	data := make([]byte, 10<<20+17)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	server := start(t, Config{}, &fake{exec: func(_ context.Context, _ *cri.ExecRequest, stdin io.Reader, stdout, stderr io.Writer, _ <-chan remotecommand.TerminalSize) (int, error) {
		wrote := make(chan error)
		go func() {
			_, err := stderr.Write(data)
			wrote <- err
		}()
		sum := sha256.New()
		if _, err := io.CopyN(io.MultiWriter(stdout, sum), stdin, int64(len(data))); err != nil {
			return 0, err
		}
		if sum := sum.Sum(nil); !bytes.Equal(sum, sum256(data)) {
			return 0, fmt.Errorf("the sum of stdin is %x", sum)
		}
		return 3, <-wrote
	}})
	r := &cri.ExecRequest{ContainerId: "c1", Stdin: true, Stdout: true, Stderr: true}

	t.Run("SPDY", func(t *testing.T) {
		s := openSPDY(t, must(server.ExecURL(r))(t), typesOf(r)...)
		sent := make(chan error, 1)
		go func() { // in frames that are larger than what is passed on
			_, err := s.streams["stdin"].Write(data[:3<<20])
			if err == nil {
				_, err = s.streams["stdin"].Write(data[3<<20:])
			}
			sent <- err
		}()
		stderr := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(s.streams["stderr"])
			stderr <- string(b)
		}()
		if got := readAll(t, s.streams["stdout"]); got != string(data) {
			t.Errorf("stdout has %d bytes and another sum", len(got))
		}
		if got := wait(t, "the end of stderr", stderr); got != string(data) {
			t.Errorf("stderr has %d bytes and another sum", len(got))
		}
		if got := readAll(t, s.streams["error"]); got != exit3 {
			t.Errorf("status is %s", got)
		}
		if err := wait(t, "the end of stdin", sent); err != nil {
			t.Error(err)
		}
	})
	for _, protocol := range webSockets {
		t.Run(protocol, func(t *testing.T) {
			c := openChannels(t, must(server.ExecURL(r))(t), protocol)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for part := data; len(part) > 0; part = part[min(len(part), 100_000):] {
					c.send(0, string(part[:min(len(part), 100_000)]))
				}
			}()
			got := c.receive()
			for channel, want := range map[int]string{1: string(data), 2: string(data), 3: exit3} {
				if got[channel] != want {
					t.Errorf("channel %d has %d bytes, want %d", channel, len(got[channel]), len(want))
				}
			}
			wait(t, "the end of stdin", sent)
		})
	}
}

func sum256(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
