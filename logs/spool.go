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
	"slices"
	"strconv"
	"strings"
	"time"
)

// portionSize is how much is read at a time, and the length at which a line is
// taken for two. One of Docker's has 16 KiB at most, which escapes can make
// 96 KiB, and its attributes.
const portionSize = 256 << 10

// spool reads a container's json-file and, over Docker's rotation, those that
// come after it. It holds the file itself, so it is read to its end under
// whatever name it has by then, or under none.
type spool struct {
	// path is that of the file that Docker writes now.
	path string
	// file is what is being read, nil where there is none yet.
	file *os.File
	// offset is where in file the next line begins.
	offset int64
	// tail is the checksum of what was before offset when that was read.
	tail uint32
	// next is the one after file, from when it was first seen. Docker has closed
	// file by then.
	next *os.File
	// gap tells that lines may be missing between file and next, lost that they
	// may be before what is read next.
	gap, lost bool
}

// generation is a file of Docker's rotation: NAME-json.log, or NAME-json.log.1
// and so on.
type generation struct {
	path    string
	inode   uint64
	changed time.Time
}

func (g generation) same(other generation) bool {
	return g.path == other.path && g.inode == other.inode
}

// listAtMost bounds how often the generations are listed until they hold still.
const listAtMost = 20

// generations are the files that there are, oldest first. Docker may be renaming
// them, so they are listed until two lists are equal.
func generations(path string) (last []generation, err error) {
	for n := 0; n < listAtMost; n++ {
		now, err := generationsNow(path)
		if err != nil {
			return nil, err
		}
		if n > 0 && slices.EqualFunc(now, last, generation.same) {
			return now, nil
		}
		last = now
	}
	return nil, fmt.Errorf("list the files of %s: they do not hold still", path)
}

func generationsNow(path string) (found []generation, err error) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the files of %s: %w", path, err)
	}
	age := map[string]int{}
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), base)
		n, err := strconv.Atoi(strings.TrimPrefix(suffix, "."))
		if !ok || suffix != "" && err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // renamed meanwhile, or nothing of Docker's
		}
		full := filepath.Join(dir, e.Name())
		age[full] = n
		found = append(found, generation{full, inode(info), info.ModTime()})
	}
	slices.SortFunc(found, func(a, b generation) int { return age[b.path] - age[a.path] })
	return found, nil
}

// open opens the generation, unless its name has gone to another one.
func (g generation) open() (*os.File, error) {
	file, err := os.Open(g.path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && inode(info) == g.inode {
		return file, nil
	}
	file.Close()
	return nil, fmt.Errorf("open %s: %w", g.path, errors.Join(err, fs.ErrNotExist))
}

// find opens the generation whose number choose picks from the list, negative for
// none. It lists them again if Docker renames that one before it is open.
func (s *spool) find(choose func([]generation) int) (file *os.File, err error) {
	for range listAtMost {
		all, err := generations(s.path)
		if err != nil {
			return nil, err
		}
		at := choose(all)
		if at < 0 {
			return nil, nil
		}
		if file, err = all[at].open(); !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return nil, fmt.Errorf("open a file of %s: they do not hold still", s.path)
}

// seek goes to a place, the zero one being the beginning of the oldest file
// there is, if any. It reports false where the place is not there any more.
func (s *spool) seek(to place) (found bool, err error) {
	s.close()
	file, err := s.find(func(all []generation) int {
		if to.Inode == 0 {
			return min(0, len(all)-1)
		}
		return slices.IndexFunc(all, func(g generation) bool { return g.inode == to.Inode })
	})
	if err != nil || file == nil {
		return err == nil && to == place{}, err
	}
	if there, err := to.in(file); err != nil || !there {
		file.Close()
		return false, err
	}
	s.file, s.offset, s.tail = file, to.Offset, to.Tail
	return true, nil
}

// in tells whether the place is in this file, and not in one that had the
// file's inode or its name before.
func (p place) in(file *os.File) (bool, error) {
	info, err := file.Stat()
	if err != nil || info.Size() < p.Offset {
		return false, err
	}
	sum, err := tail(file, p.Offset)
	return sum == p.Tail, err
}

// placeAt is a place in the file that is being read.
func (s *spool) placeAt(offset int64) (p place, err error) {
	if s.file == nil {
		return p, nil
	}
	info, err := s.file.Stat()
	if err != nil {
		return p, err
	}
	p.Inode, p.Offset = inode(info), offset
	p.Tail, err = tail(s.file, offset)
	return p, err
}

// lines reads whole lines, with their newlines, as many as fit into buf; or of a
// line that does not, what does. final tells whether nothing more will be written
// to the file: then what it has left without a newline counts as a line. It is
// asked after reading, so that what was read is all there is.
func (s *spool) lines(buf []byte, final func() bool) (lines []byte, err error) {
	for s.file != nil {
		n, err := s.file.ReadAt(buf, s.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read what Docker logged: %w", err)
		}
		end := bytes.LastIndexByte(buf[:n], '\n') + 1
		if end == 0 && n == len(buf) {
			// A file that was cut under Docker begins with a hole, however large, which
			// must not count as the beginning of a line.
			if hole := n - len(bytes.TrimLeft(buf, "\x00")); hole > 0 {
				if err := s.move(s.offset + int64(hole)); err != nil {
					return nil, err
				}
				continue
			}
			end = n
		}
		if end == 0 && n > 0 && final() {
			end = n
		}
		return buf[:end], s.move(s.offset + int64(end))
	}
	return nil, nil
}

// move sets where the next line begins.
func (s *spool) move(offset int64) error {
	if offset == s.offset {
		return nil
	}
	sum, err := tail(s.file, offset)
	if err == nil {
		s.offset, s.tail = offset, sum
	}
	return err
}

// look finds out what has become of the file since the last look: whether it has
// a successor, or was cut. To be called at each portion: only then is the
// successor known for sure when Docker removes it soon after.
func (s *spool) look() error {
	if s.file == nil {
		_, err := s.seek(place{})
		return err
	}
	if s.next != nil {
		return nil
	}
	if there, err := (place{Offset: s.offset, Tail: s.tail}).in(s.file); err != nil {
		return err
	} else if !there {
		s.offset, s.tail, s.lost = 0, 0, true
	}
	held, err := s.file.Stat()
	if err != nil {
		return err
	}
	now, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // being rotated, or removed by somebody: Docker writes to the file that is held
	case err != nil:
		return fmt.Errorf("look at what Docker logs: %w", err)
	case os.SameFile(held, now):
		return nil
	}
	return s.findNext(held)
}

// findNext opens the successor of the file that is held.
func (s *spool) findNext(held fs.FileInfo) (err error) {
	s.next, err = s.find(func(all []generation) int {
		at := slices.IndexFunc(all, func(g generation) bool { return g.inode == inode(held) })
		if s.gap = at < 0; s.gap {
			return firstSince(all, held.ModTime())
		}
		if at == len(all)-1 {
			return -1 // rotated back, or not yet
		}
		return at + 1
	})
	return err
}

// firstSince is the first generation that was written to after one that is gone
// from the list. Most likely that one was the oldest, and what came after it may
// be gone as well; but if somebody removed it, there are older ones.
func firstSince(all []generation, last time.Time) int {
	at := slices.IndexFunc(all, func(g generation) bool { return !g.changed.Before(last) })
	if at < 0 {
		return len(all) - 1 // the clock was set back
	}
	return at
}

// advance goes on to the next file.
func (s *spool) advance() {
	s.file.Close()
	s.file, s.offset, s.tail, s.next = s.next, 0, 0, nil
	s.lost, s.gap = s.lost || s.gap, false
}

func (s *spool) close() {
	for _, file := range []*os.File{s.file, s.next} {
		if file != nil {
			file.Close()
		}
	}
	s.file, s.next, s.offset, s.tail, s.gap = nil, nil, 0, 0, false
}
