// SPDX-License-Identifier: Apache-2.0

package proctree

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errNoProcess is what reading gives when the process ended after opening.
const errNoProcess = unix.ESRCH

// stat is what /proc/PID/stat tells.
type stat struct {
	pid, parent, group, session int
	start                       uint64
	dead                        bool // ended, but not waited for
}

// table is the living processes of a container by pid.
type table map[int]*process

type process struct {
	stat
	streams     []stream
	streamsRead bool
}

// standard are the standard streams, read when first asked for.
func (p *process) standard() []stream {
	if !p.streamsRead {
		p.streams, p.streamsRead = streamsOf(p.pid), true
	}
	return p.streams
}

// readTable lists the processes of a container. The cgroup comes first: it is
// cheaper to make up than stat, and most processes are not the container's.
func readTable(containerID string) (table, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	t := table{}
	// The kernel lists by number. Newest first, as those may be gone soonest.
	for _, name := range slices.Backward(names) {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		in, err := membership(pid, containerID)
		if err == nil && !in || gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s, err := readStat(pid)
		if err == nil && s.dead || gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		t[pid] = &process{stat: s}
	}
	return t, nil
}

// inCgroup tells whether the text of /proc/PID/cgroup names the container. Both
// cgroup drivers make the id a part of the path, in either version of cgroups.
func inCgroup(pid int, containerID string) (bool, error) {
	text, err := read(pid, "cgroup")
	return bytes.Contains(text, []byte(containerID)), err
}

// membership is inCgroup, but for tests, which need no cgroups of their own then.
var membership = inCgroup

func readStat(pid int) (stat, error) {
	text, err := read(pid, "stat")
	if err != nil {
		return stat{}, err
	}
	s, err := parseStat(string(text))
	if err != nil {
		return s, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	s.pid = pid
	return s, nil
}

// parseStat reads all but the pid. The second field is the name of the program
// in parentheses, which may have anything in it, parentheses and spaces too; the
// last one closes it.
func parseStat(text string) (s stat, err error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return s, errors.New("too few fields")
	}
	number := func(field int) int { // counted from 1, as in proc(5)
		n, e := strconv.Atoi(fields[field-3])
		err = errors.Join(err, e)
		return n
	}
	s.parent, s.group, s.session, s.start = number(4), number(5), number(6), uint64(number(22))
	// A process whose first thread has ended looks like a zombie while others run.
	s.dead = strings.Contains("ZXx", fields[0]) && number(20) <= 1
	return s, err
}

// first tells whether a process is the first of its pid namespace, for which
// the last number of NSpid is 1.
func first(pid int) bool {
	text, err := read(pid, "status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(numbers)
			return len(fields) > 0 && fields[len(fields)-1] == "1"
		}
	}
	return false
}

// read is a file of /proc/PID.
func read(pid int, name string) ([]byte, error) {
	return os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + name)
}

// streamAt looks at one descriptor. Only devices are asked further: a file on a
// network that is gone would let us hang.
func streamAt(path string) (stream, bool) {
	link, err := os.Readlink(path)
	switch {
	case err != nil:
		return stream{}, false
	case strings.HasPrefix(link, "pipe:["):
		return stream{pipe: link}, true
	case !strings.HasPrefix(link, "/dev/"):
		return stream{}, false
	}
	var s unix.Stat_t
	if unix.Stat(path, &s) != nil || s.Mode&unix.S_IFMT != unix.S_IFCHR {
		return stream{}, false
	}
	// UNIX98_PTY_SLAVE_MAJOR and the seven that are reserved with it, as /dev/pts/N
	// are numbered. The numbers begin anew in each devpts.
	if major := unix.Major(uint64(s.Rdev)); major < 136 || major > 143 {
		return stream{}, false
	}
	return stream{dev: uint64(s.Dev), rdev: uint64(s.Rdev)}, true
}
