// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/daemon/logger/jsonfilelog/jsonlog"
	"k8s.io/klog/v2"
)

func silent() klog.Logger { return klog.LoggerWithValues(klog.Background()).V(9) }

// dockerLog writes a container's json-file, and rotates it, as Docker does:
// https://github.com/moby/moby/blob/v28.5.2/daemon/logger/loggerutils/logfile.go.
type dockerLog struct {
	Container
	t        testing.TB
	capacity int64 // no rotation where it is 0
	files    int
	file     *os.File
	size     int64
	now      time.Time
	// want is the CRI log that all of this makes.
	want bytes.Buffer
}

func newDockerLog(t testing.TB, c Container, capacity int64, files int) *dockerLog {
	t.Helper()
	d := &dockerLog{Container: c, t: t, capacity: capacity, files: files, now: time.Now().UTC()}
	if err := os.MkdirAll(filepath.Dir(c.Spool), 0o755); err != nil {
		t.Fatal(err)
	}
	d.open(os.O_APPEND)
	t.Cleanup(d.close)
	return d
}

func (d *dockerLog) open(flag int) {
	d.t.Helper()
	file, err := os.OpenFile(d.Spool, os.O_WRONLY|os.O_CREATE|flag, 0o640)
	if err == nil {
		d.size, err = file.Seek(0, io.SeekEnd)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.file = file
}

// close is the end of the container; open(os.O_APPEND) would start it again.
func (d *dockerLog) close() { d.file.Close() }

// print is what the container writes at once, and Docker at the end of the stream.
func (d *dockerLog) print(stream, text string) {
	d.t.Helper()
	d.now = d.now.Add(1001 * time.Nanosecond)
	for text != "" {
		line, rest, whole := strings.Cut(text, "\n")
		if len(line) > partSize {
			line, rest, whole = text[:partSize], text[partSize:], false
		}
		if whole {
			line += "\n"
		}
		d.entry(stream, line)
		text = rest
		if whole {
			d.now = d.now.Add(time.Microsecond) // the parts of a line have the same time
		}
	}
}

func (d *dockerLog) println(format string, args ...any) {
	d.t.Helper()
	d.print("stdout", fmt.Sprintf(format, args...)+"\n")
}

// entry writes a line, or a part of one, which has no newline.
func (d *dockerLog) entry(stream, text string) {
	d.t.Helper()
	d.write(dockerLine(d.t, d.now, stream, text))
	tag := byte(partial)
	if strings.HasSuffix(text, "\n") {
		tag = full
	}
	d.want.WriteString(cri(d.now, stream, tag, string([]rune(text))))
}

func dockerLine(t testing.TB, at time.Time, stream, text string) []byte {
	var buf bytes.Buffer
	if err := (&jsonlog.JSONLogs{Log: []byte(text), Stream: stream, Created: at}).MarshalJSONBuf(&buf); err != nil {
		t.Fatal(err)
	}
	buf.WriteByte('\n')
	return buf.Bytes()
}

// write is one write, after a rotation if the file is large enough.
func (d *dockerLog) write(line []byte) {
	d.t.Helper()
	if d.capacity > 0 && d.size >= d.capacity {
		d.rotate()
	}
	n, err := d.file.Write(line)
	if err != nil {
		d.t.Fatal(err)
	}
	d.size += int64(n)
}

func (d *dockerLog) rotate() {
	d.t.Helper()
	d.file.Close()
	name := func(n int) string { return fmt.Sprintf("%s.%d", d.Spool, n) }
	err := gone(os.Remove(name(d.files - 1)))
	for n := d.files - 1; n > 1; n-- {
		err = errors.Join(err, gone(os.Rename(name(n-1), name(n))))
	}
	if err = errors.Join(err, gone(os.Rename(d.Spool, name(1)))); err != nil {
		d.t.Fatal(err)
	}
	d.open(os.O_TRUNC) // without O_APPEND
}

// gone lets pass that something is not there.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
