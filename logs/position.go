// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// position is what is needed to go on. It may be older than the CRI log, whose
// end then tells what has been carried over since.
type position struct {
	// Spool is the place in the json-file of the first line that is not in the log.
	Spool place `json:"spool"`
	// Log is where in the CRI log that line goes.
	Log struct {
		Inode  uint64 `json:"inode"`
		Offset int64  `json:"offset"`
	} `json:"log"`
	// Time is that of the last entry before.
	Time string `json:"time"`
}

// place is a place in a json-file. Its zero value is the beginning of the oldest.
type place struct {
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"`
	// Tail is a checksum of what is before Offset: inodes are used again soon, and
	// files are cut and written again.
	Tail uint32 `json:"tail"`
}

// tailSize is enough for the time of an entry, with which it ends.
const tailSize = 256

// loadPosition reports false where there is none, or none that can be read: a
// power cut may have left an empty file.
func loadPosition(path string) (p position, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return p, false
	}
	err = json.Unmarshal(text, &p)
	return p, err == nil
}

// save replaces the position in one step.
func (p position) save(path string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	next := path + nextSuffix
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return fmt.Errorf("note how far a log has been carried over: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("note how far a log has been carried over: %w", err)
	}
	return nil
}

// nextSuffix is that of a position, or a link, that has not taken its place yet.
const nextSuffix = ".next"

func removePosition(path string) error {
	for _, p := range []string{path, path + nextSuffix} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget how far a log has been carried over: %w", err)
		}
	}
	return nil
}

// tail is the checksum of what is before offset, tailSize bytes at most.
func tail(file *os.File, offset int64) (uint32, error) {
	begin := max(0, offset-tailSize)
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, io.NewSectionReader(file, begin, offset-begin)); err != nil {
		return 0, fmt.Errorf("read what Docker logged: %w", err)
	}
	return sum.Sum32(), nil
}

// inode and links identify a file, and tell whether it still has a name.
func inode(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

func links(info fs.FileInfo) uint64 { return uint64(info.Sys().(*syscall.Stat_t).Nlink) }
