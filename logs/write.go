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
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// output is the CRI log of one container.
type output struct {
	path string
	file *os.File
	// pending are lines for the log that are not wholly there yet.
	pending []byte
	// begun is how many bytes of the first of them are.
	begun int
	// there is what a follower before us wrote after its last note, nil once that
	// has been compared.
	there io.Reader
	// renamed is the log of that time if it has been renamed since, until there is
	// nothing to compare or to complete in it.
	renamed *os.File
}

// errDiverged: what is in the log is not what would have been written.
var errDiverged = errors.New("the log is not what the spool says")

// openLog opens a CRI log for appending, with its directory, which somebody may
// have removed. What is there and is no file of its own is left alone.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the log directory: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	// Without O_NONBLOCK a pipe would keep us waiting for a reader.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log path %s: %s: %w: %w", path, inTheWay(path), err, errdefs.ErrFailedPrecondition)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("log path %s: %s: %w", path, inTheWay(path), errdefs.ErrFailedPrecondition)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// inTheWay says why no log can be written at path, and what to do.
func inTheWay(path string) string {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().IsRegular() {
		return "cannot be written; check the directory"
	}
	return fmt.Sprintf("something is there that is no file (%s); move it away", info.Mode().Type())
}

// flush writes what is pending. After an error the rest is still pending.
func (o *output) flush() error {
	if err := o.pass(); err != nil || len(o.pending) == 0 {
		return err
	}
	if err := o.completeRenamed(); err != nil || len(o.pending) == 0 {
		return err
	}
	if err := o.keepName(); err != nil {
		return err
	}
	return o.write(o.file, o.pending[o.begun:])
}

func (o *output) write(file *os.File, text []byte) error {
	n, err := file.Write(text)
	o.drop(n)
	if err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}

// drop takes off what is pending the lines that n more bytes have completed.
func (o *output) drop(n int) {
	n += o.begun
	whole := bytes.LastIndexByte(o.pending[:n], '\n') + 1
	o.begun = n - whole
	o.pending = o.pending[:copy(o.pending, o.pending[whole:])]
}

// pass takes off what is pending the bytes that are there already.
func (o *output) pass() error {
	if o.there == nil {
		return nil
	}
	there := make([]byte, len(o.pending))
	n, err := io.ReadFull(o.there, there)
	if !bytes.Equal(there[:n], o.pending[:n]) {
		return errDiverged
	}
	o.drop(n)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		o.there = nil
	case err != nil:
		return fmt.Errorf("read the log: %w", err)
	}
	return nil
}

// passed tells whether all that was there has been compared. It is an error
// where more was there than the spool has.
func (o *output) passed() error {
	if o.there == nil {
		return nil
	}
	var one [1]byte
	if n, err := o.there.Read(one[:]); n > 0 || !errors.Is(err, io.EOF) {
		return errors.Join(errDiverged, err)
	}
	o.there = nil
	return nil
}

// completeRenamed completes the line that a follower before us began in the log
// that has been renamed since.
func (o *output) completeRenamed() error {
	if o.renamed == nil {
		return nil
	}
	info, err := o.file.Stat()
	if err != nil {
		return err
	}
	if o.begun > 0 && info.Size() == 0 { // it was not begun in the new one
		end := bytes.IndexByte(o.pending, '\n') + 1
		if err := o.write(o.renamed, o.pending[o.begun:end]); err != nil {
			return err
		}
	}
	o.renamed.Close()
	o.renamed = nil
	return nil
}

// keepName makes the log anew if somebody has removed it. One that was renamed
// keeps being written, until reopen: that is how logs are rotated. Where another
// file has taken the name, as when a rotation is undone, its end decides.
func (o *output) keepName() error {
	info, err := o.file.Stat()
	if err != nil || links(info) > 0 {
		return err
	}
	if err := o.reopen(); err != nil {
		return err
	}
	o.begun = 0
	if info, err = o.file.Stat(); err == nil && info.Size() > 0 {
		err = errDiverged
	}
	return err
}

// reopen goes on in a new file if path is not the file that is open.
func (o *output) reopen() error {
	next, err := openLog(o.path)
	if err != nil {
		return err
	}
	if o.file != nil {
		o.file.Close()
	}
	o.file = next
	return nil
}

// forget gives up what is pending and to be compared: it will be read again.
func (o *output) forget() {
	if o.renamed != nil {
		o.renamed.Close()
	}
	o.pending, o.begun, o.there, o.renamed = nil, 0, nil, nil
}

func (o *output) close() {
	o.forget()
	if o.file != nil {
		o.file.Close()
		o.file = nil
	}
}

// since prepares to compare what was written after a noted position. It reports
// false where the log has not what it had then, or was renamed more than once.
func (o *output) since(id uint64, offset int64) (ok bool, err error) {
	info, err := o.file.Stat()
	if err != nil {
		return false, err
	}
	if inode(info) == id {
		o.there = io.NewSectionReader(o.file, offset, info.Size()-offset)
		return endsLine(o.file, offset)
	}
	o.there = io.NewSectionReader(o.file, 0, info.Size())
	old, err := o.rotated(func(info fs.FileInfo) bool { return inode(info) == id })
	if err != nil || old == nil { // it was removed
		return err == nil, err
	}
	o.renamed = old
	// What is left to compare begins in the old file.
	if info, err = old.Stat(); err != nil {
		return false, err
	}
	o.there = io.MultiReader(io.NewSectionReader(old, offset, info.Size()-offset), o.there)
	younger, err := o.rotated(func(other fs.FileInfo) bool { return other.Size() > 0 && other.ModTime().After(info.ModTime()) })
	if err != nil {
		return false, err
	}
	if younger != nil {
		return false, younger.Close()
	}
	return endsLine(old, offset)
}

// endsLine tells whether a line ends at offset, as it does at the beginning.
// After a power cut a file may be shorter, or have zeros there.
func endsLine(file *os.File, offset int64) (bool, error) {
	if offset == 0 {
		return true, nil
	}
	var last [1]byte
	_, err := file.ReadAt(last[:], offset-1)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read the log: %w", err)
	}
	return last[0] == '\n', nil
}

// rotated opens the youngest of the files that the log has been renamed to, as
// the kubelet does, for which ok holds; nil where there is none. Those that it
// has compressed are not looked at.
func (o *output) rotated(ok func(fs.FileInfo) bool) (*os.File, error) {
	dir, base := filepath.Split(o.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for rotated logs: %w", err)
	}
	var youngest string
	var changed time.Time
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), base+".") || strings.HasSuffix(e.Name(), ".gz") || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && ok(info) && info.ModTime().After(changed) {
			youngest, changed = filepath.Join(dir, e.Name()), info.ModTime()
		}
	}
	if youngest == "" {
		return nil, nil
	}
	old, err := os.OpenFile(youngest, os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open a rotated log: %w", err)
	}
	return old, nil
}

// endLine ends the last line of a log, if somebody left it without a newline.
func endLine(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if ended, err := endsLine(file, info.Size()); ended || err != nil {
		return err
	}
	_, err = file.Write([]byte{'\n'})
	return err
}
