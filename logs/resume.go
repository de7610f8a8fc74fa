// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// resume finds where a follower goes on: at the noted position, from which the
// bytes that are in the log already will be compared and passed over; or, where
// that is of no use, after the log's last line.
func (f *follower) resume() error {
	if f.resumed {
		return nil
	}
	err := f.resumeAt()
	f.resumed = err == nil
	return err
}

func (f *follower) resumeAt() error {
	f.out.close()
	if err := f.out.reopen(); err != nil {
		return err
	}
	p, noted := loadPosition(f.note)
	if !noted {
		return f.search(false)
	}
	f.encoder.last = []byte(p.Time)
	found, err := f.spool.seek(p.Spool)
	if found {
		found, err = f.out.since(p.Log.Inode, p.Log.Offset)
	}
	if err != nil || found {
		return err
	}
	return f.search(true)
}

// search goes on after the log's last line, which it looks for in the spool. It
// serves after a power cut, which keeps less of the log than was noted, or of
// the spool than was carried over; where somebody cut the log; and where the
// noted file of the spool is gone by now.
func (f *follower) search(noted bool) error {
	f.out.forget()
	last, err := f.out.ending()
	if err != nil {
		return err
	}
	sought := newSearch(last)
	if err := sought.spool(f.spool.path); err != nil {
		return err
	}
	if _, err := f.spool.seek(sought.at); err != nil {
		return err
	}
	if last.copies > 0 {
		f.encoder.last = sought.time
	}
	if len(sought.there) > 0 {
		f.out.there = bytes.NewReader(sought.there)
	}
	// The end may be a line that tells of the same loss.
	f.spool.lost = !sought.found && (noted || last.copies > 0) && !bytes.HasSuffix(last.text, []byte(lossMark+"\n"))
	f.log.Info("log taken up after its last line", "container", f.ID, "found", sought.found, "noted", noted)
	return nil
}

// ending is how a log ends: its last line, with the newline, and how often it is
// there. Parts of a long line may be equal, down to their times.
type ending struct {
	text   []byte
	copies int
}

func (e ending) time() []byte {
	text, _, _ := bytes.Cut(e.text, []byte{' '})
	return bytes.Clone(text)
}

// ending is that of the log or, if that has no line, of the youngest one it was
// renamed to.
func (o *output) ending() (ending, error) {
	last, err := endOf(o.file)
	if err != nil || last.copies > 0 {
		return last, err
	}
	old, err := o.rotated(func(info fs.FileInfo) bool { return info.Size() > 0 })
	if err != nil || old == nil {
		return last, err
	}
	defer old.Close()
	return endOf(old)
}

// endSize is how much of a log's end is looked at.
const endSize = 1 << 20

// endOf finds the last line of CRI's format, and cuts off what is torn: a power cut
// may leave half a line, or zeros where something was to be written.
func endOf(file *os.File) (last ending, err error) {
	size, err := withoutZeros(file)
	if err != nil {
		return last, err
	}
	end := make([]byte, min(size, endSize))
	if _, err := file.ReadAt(end, size-int64(len(end))); err != nil {
		return last, fmt.Errorf("read the log: %w", err)
	}
	whole := end[:bytes.LastIndexByte(end, '\n')+1]
	if err := cut(file, size-int64(len(end)-len(whole))); err != nil {
		return last, err
	}
	for len(whole) > 0 {
		begin := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
		line := whole[begin:]
		switch {
		case last.copies == 0 && lineTime(line).IsZero(): // somebody else's
		case last.copies == 0 || bytes.Equal(line, last.text):
			last.text = line
			last.copies++
		default:
			return last, nil
		}
		whole = whole[:begin]
	}
	return last, nil
}

// withoutZeros is the size of a file without the zeros at its end.
func withoutZeros(file *os.File) (size int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, min(info.Size(), portionSize))
	for size = info.Size(); size > 0; {
		buf = buf[:min(size, portionSize)]
		if _, err := file.ReadAt(buf, size-int64(len(buf))); err != nil {
			return 0, fmt.Errorf("read the log: %w", err)
		}
		rest := len(bytes.TrimRight(buf, "\x00"))
		size -= int64(len(buf) - rest)
		if rest > 0 {
			return size, nil
		}
	}
	return 0, nil
}

func cut(file *os.File, size int64) error {
	info, err := file.Stat()
	if err != nil || info.Size() == size {
		return err
	}
	if err := file.Truncate(size); err != nil {
		return fmt.Errorf("cut a torn line off the log: %w", err)
	}
	return nil
}

// search looks for the last line of a log in the spool: for the line that makes
// it or, where none does, for the last one that is not younger.
type search struct {
	last    ending
	until   time.Time
	encoder encoder
	copies  int
	exact   bool

	// found tells whether there was one, at is where it begins or, if it is not
	// exact, ends, and time that of the last entry before. there is what it makes
	// that is in the log already: a line may make several.
	found bool
	at    place
	time  []byte
	there []byte
}

func newSearch(last ending) *search {
	// A foreign line at the very beginning has the time of an entry that is gone.
	return &search{last: last, until: lineTime(last.text), encoder: encoder{last: last.time()}, time: last.time()}
}

// spool searches all of a spool, from its beginning.
func (s *search) spool(path string) error {
	all := spool{path: path}
	defer all.close()
	if _, err := all.seek(place{}); err != nil || s.last.copies == 0 {
		return err
	}
	buf := portions.Get().(*[portionSize]byte)
	defer portions.Put(buf)
	for all.file != nil && !s.exact {
		if err := all.look(); err != nil {
			return err
		}
		lines, err := all.lines(buf[:], func() bool { return all.next != nil })
		if err != nil {
			return err
		}
		switch {
		case len(lines) > 0:
			err = s.lines(&all, lines)
		case all.next != nil:
			all.advance()
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lines searches the lines that have just been read.
func (s *search) lines(all *spool, lines []byte) (err error) {
	at := int64(-1)
	begin := all.offset - int64(len(lines))
	var before, out []byte
	for line := range bytes.Lines(lines) {
		before = append(before[:0], s.encoder.last...)
		out = s.encoder.line(out[:0], bytes.TrimSuffix(line, []byte{'\n'}))
		if n := s.match(out); n > 0 {
			s.exact, s.there, s.time, at = true, out[:n], before, begin
			break
		}
		begin += int64(len(line))
		if len(out) > 0 && !lineTime(s.encoder.last).After(s.until) {
			s.time, at = append(s.time[:0], s.encoder.last...), begin
		}
	}
	if at >= 0 {
		s.found = true
		s.at, err = all.placeAt(at)
	}
	return err
}

// match is how many bytes of some lines of a log end with the one that is sought,
// as many times as it is there; 0 if they do not.
func (s *search) match(lines []byte) (n int) {
	for line := range bytes.Lines(lines) {
		n += len(line)
		if !bytes.Equal(line, s.last.text) {
			s.copies = 0
			continue
		}
		if s.copies++; s.copies == s.last.copies {
			return n
		}
	}
	return 0
}

// lineTime is the time of a line of a CRI log; zero if it has none.
func lineTime(line []byte) (t time.Time) {
	text, _, _ := bytes.Cut(line, []byte{' '})
	if t.UnmarshalText(text) != nil {
		return time.Time{}
	}
	return t
}
