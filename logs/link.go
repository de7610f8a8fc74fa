// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// engineLogSuffix ends the name of every json-file of Docker's.
const engineLogSuffix = "-json.log"

// Link makes path a link to a json-file of Docker's, as older shims did for
// every container. A link of an earlier container gives way, a file or directory
// does not.
func Link(path, spool string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the log directory: %w: %w", err, errdefs.ErrFailedPrecondition)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return fmt.Errorf("log path %s: something is there that is no link; move it away: %w", path, errdefs.ErrFailedPrecondition)
	}
	// A link cannot be overwritten, but a rename replaces it in one step.
	next := path + nextSuffix
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("link the log: %w", err)
	}
	if err := os.Symlink(spool, next); err != nil {
		return fmt.Errorf("link the log: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("link the log: %w", err)
	}
	return nil
}

// Unlink removes the link of a container, unless something else is there by now.
func Unlink(path, spool string) error {
	if !linksTo(path, spool) {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the link to the log: %w", err)
	}
	return nil
}

// linksTo tells whether path is a link to this json-file.
func linksTo(path, spool string) bool {
	target, err := os.Readlink(path)
	return err == nil && target == spool
}

// unlinkStale removes a link to a json-file that is no more, which an older
// shim may have left where a log is to be written.
func unlinkStale(path string) error {
	target, err := os.Readlink(path)
	if err != nil || !strings.HasSuffix(target, engineLogSuffix) {
		return nil
	}
	if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return os.Remove(path)
}

// Relink ends a rotation of a linked log that Docker rotates by itself: the link
// that was renamed is taken away, and put back where it was.
func Relink(path, spool string) error {
	renamed, err := renamedLinks(path, spool)
	if err != nil {
		return err
	}
	if err := Link(path, spool); err != nil {
		return err
	}
	return removeAll(renamed)
}

// CopyTruncate ends a rotation of a linked log that grows without end. The link
// has been renamed; its place is taken by a copy of Docker's file, which is then
// emptied, since Docker would go on writing to a file that was renamed. A line
// that is written between the last look and the emptying is lost.
func CopyTruncate(path, spool string) error {
	renamed, err := renamedLinks(path, spool)
	if err != nil {
		return err
	}
	if len(renamed) == 0 { // nobody has renamed it
		return Link(path, spool)
	}
	if err := moveContent(spool, renamed[0]); err != nil {
		return fmt.Errorf("rotate the log: %w", err)
	}
	if err := Link(path, spool); err != nil {
		return err
	}
	return removeAll(renamed[1:])
}

// moveContent puts a copy of a file at path, then empties the file.
func moveContent(from, path string) error {
	old, err := os.OpenFile(from, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	// The kubelet removes what ends like this if we do not come to the end.
	next := path + ".tmp"
	copied, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	defer copied.Close()
	if _, err := io.Copy(copied, old); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if err := os.Rename(next, path); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	// What came in the meantime.
	if _, err := io.Copy(copied, old); err != nil {
		return err
	}
	return old.Truncate(0)
}

// renamedLinks are the names that a linked log has been renamed to, newest first:
// they end in the time.
func renamedLinks(path, spool string) (renamed []string, err error) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for renamed logs: %w", err)
	}
	for _, e := range slices.Backward(entries) {
		full := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), base+".") && e.Name() != base+nextSuffix && linksTo(full, spool) {
			renamed = append(renamed, full)
		}
	}
	return renamed, nil
}

func removeAll(paths []string) (err error) {
	for _, p := range paths {
		if failed := os.Remove(p); !errors.Is(failed, fs.ErrNotExist) {
			err = errors.Join(err, failed)
		}
	}
	return err
}
