// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func running() bool { return false }

func ended() bool { return true }

// newSpool is a container's output, and the spool that reads it.
func newSpool(t *testing.T, files int) (*dockerLog, *spool) {
	t.Helper()
	d := newDockerLog(t, containerIn(t.TempDir(), "a"), 1<<30, files)
	s := &spool{path: d.Spool}
	t.Cleanup(s.close)
	return d, s
}

// read reads all there is, over rotations, and shows it with the losses.
func (s *spool) read(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	buf := make([]byte, portionSize)
	for {
		must(t, s.look())
		lines, err := s.lines(buf, func() bool { return s.next != nil })
		must(t, err)
		if s.lost {
			all.WriteString("LOSS\n")
			s.lost = false
		}
		all.Write(lines)
		switch {
		case len(lines) > 0:
		case s.next != nil:
			s.advance()
		default:
			return all.String()
		}
	}
}

func TestSpoolGenerations(t *testing.T) {
	dir := t.TempDir() + "/"
	for _, name := range []string{"a-json.log", "a-json.log.1", "a-json.log.2", "a-json.log.10", "a-json.log.3.gz", "a-json.log.x", "config.v2.json"} {
		writeFile(t, dir+name, "")
	}
	must(t, os.Mkdir(dir+"a-json.log.4", 0o755))
	all, err := generations(dir + "a-json.log")
	must(t, err)
	var names []string
	for _, g := range all {
		names = append(names, strings.TrimPrefix(g.path, dir+"a-json.log"))
	}
	if want := []string{".10", ".2", ".1", ""}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if all, err := generations(dir + "nowhere/a-json.log"); len(all) > 0 || err != nil {
		t.Errorf("%v, %v of no directory", all, err)
	}
}

func TestSpoolOverRotations(t *testing.T) {
	d, s := newSpool(t, 3)
	var want string
	add := func(text string) {
		d.write([]byte(text + "\n"))
		want += text + "\n"
	}
	var got string
	add("one")
	got += s.read(t)
	d.rotate()
	got += s.read(t) // nothing is in the new one yet
	add("two")
	d.rotate()
	add("three")
	got += s.read(t)
	add("four")
	d.rotate()
	d.rotate() // to an empty one
	add("five")
	got += s.read(t)
	wantText(t, got, want)
}

func TestSpoolBehind(t *testing.T) {
	d, s := newSpool(t, 3)
	must(t, s.look())
	d.write([]byte("one\n"))
	for n := range 5 { // two more than are kept
		d.rotate()
		fmt.Fprintf(d.file, "%d\n", n)
	}
	wantText(t, s.read(t), "one\nLOSS\n2\n3\n4\n")
}

// What somebody removed was followed by one that came later, not by one that has
// been read already.
func TestSpoolRemoved(t *testing.T) {
	d, s := newSpool(t, 4)
	d.write([]byte("one\n"))
	d.rotate()
	wantText(t, s.read(t), "one\n")
	later := time.Now().Add(time.Second)
	d.write([]byte("two\n"))
	must(t, os.Chtimes(d.Spool, later, later))
	must(t, os.Remove(d.Spool))
	wantText(t, s.read(t), "two\n")
	fmt.Fprintln(d.file, "three")
	d.rotate()
	later = later.Add(time.Hour)
	d.write([]byte("four\n"))
	must(t, os.Chtimes(d.Spool, later, later))
	wantText(t, s.read(t), "three\nLOSS\nfour\n")
}

func TestSpoolCut(t *testing.T) {
	d, s := newSpool(t, 2)
	d.write([]byte("one\ntwo\n"))
	wantText(t, s.read(t), "one\ntwo\n")
	must(t, os.Truncate(d.Spool, 0))
	d.write([]byte("three\n"))
	wantText(t, s.read(t), "LOSS\nthree\n")
	// Cut and grown beyond where it was, between two looks.
	must(t, os.Truncate(d.Spool, 0))
	d.write([]byte("four and more\n"))
	wantText(t, s.read(t), "LOSS\nfour and more\n")
	// After a rotation Docker goes on where it was, which leaves a hole.
	d.rotate()
	d.write([]byte(strings.Repeat("x", 3*portionSize) + "\n"))
	s.read(t)
	must(t, os.Truncate(d.Spool, 0))
	d.write([]byte("after a hole\n"))
	got := s.read(t)
	wantText(t, strings.ReplaceAll(got, "\x00", ""), "LOSS\nafter a hole\n")
	if len(got) > portionSize {
		t.Errorf("%d bytes read of the hole", len(got))
	}
}

func TestSpoolLines(t *testing.T) {
	d, s := newSpool(t, 2)
	must(t, s.look())
	buf := make([]byte, portionSize)
	want := func(what string, final func() bool, want string) {
		t.Helper()
		got, err := s.lines(buf, final)
		must(t, err)
		if string(got) != want {
			t.Errorf("%s: %d bytes %q, want %d", what, len(got), got[:min(len(got), 20)], len(want))
		}
	}
	want("nothing", ended, "")
	d.write([]byte("whole\ntorn"))
	want("whole lines", running, "whole\n")
	want("a torn one", running, "")
	want("a torn one at the end", ended, "torn")
	want("after the end", ended, "")
	long := strings.Repeat("x", portionSize)
	d.write([]byte("short\n" + long + "y\n"))
	want("before a long one", running, "short\n")
	want("the beginning of a long one", running, long)
	want("the rest", running, "y\n")
	d.write([]byte(strings.Repeat("\x00", 2*portionSize+100) + "a\n"))
	if lines, err := s.lines(buf, running); err != nil || strings.Trim(string(lines), "\x00") != "a\n" {
		t.Errorf("%d bytes after a hole, %v", len(lines), err)
	}
}

func TestSpoolSeek(t *testing.T) {
	d, s := newSpool(t, 3)
	d.write([]byte("one\ntwo\n"))
	if found, err := s.seek(place{}); !found || err != nil || s.file == nil {
		t.Fatal("no beginning", found, err)
	}
	at, err := s.placeAt(4)
	must(t, err)
	d.rotate()
	d.write([]byte("three\n"))
	if found, err := s.seek(at); !found || err != nil {
		t.Fatal("not found", found, err)
	}
	wantText(t, s.read(t), "two\nthree\n")

	// The inode is another file's now: what is before the place tells.
	must(t, os.WriteFile(d.Spool+".1", []byte("six\ntwo\n"), 0o644))
	if found, err := s.seek(at); found || err != nil {
		t.Error("found in another file", found, err)
	}
	must(t, os.Truncate(d.Spool+".1", 2))
	if found, err := s.seek(at); found || err != nil {
		t.Error("found beyond the end", found, err)
	}
	d.rotate()
	d.rotate()
	if found, err := s.seek(at); found || err != nil {
		t.Error("found in a file that is gone", found, err)
	}
	nowhere := spool{path: t.TempDir() + "/none/a"}
	if found, err := nowhere.seek(place{}); !found || err != nil || nowhere.file != nil {
		t.Error("beginning of what is not there yet", found, err)
	}
	if found, err := nowhere.seek(at); found || err != nil {
		t.Error("found nowhere", found, err)
	}
}

// A rotation in the middle of a look is no error, nor is one skipped.
func TestSpoolWhileRotating(t *testing.T) {
	d, s := newSpool(t, 5)
	must(t, s.look())
	const lines = 20_000
	done := make(chan string, 1)
	read := make(chan struct{}, 300) // lines, so that the reader is not left behind
	go func() {
		var all strings.Builder
		buf := make([]byte, portionSize)
		for all.Len() < lines*7 {
			err := s.look()
			var got []byte
			if err == nil {
				got, err = s.lines(buf, func() bool { return s.next != nil })
			}
			switch {
			case err != nil:
				fmt.Fprintln(&all, err)
			case s.lost:
				fmt.Fprintln(&all, "LOSS")
				s.lost = false
			case len(got) == 0 && s.next != nil:
				s.advance()
			}
			all.Write(got)
			for range strings.Count(string(got), "\n") {
				<-read
			}
		}
		done <- all.String()
	}()
	var want strings.Builder
	for n := range lines {
		read <- struct{}{}
		line := fmt.Sprintf("%06d\n", n)
		if n%100 == 99 {
			d.rotate()
		}
		d.write([]byte(line))
		want.WriteString(line)
	}
	wantText(t, <-done, want.String())
}
