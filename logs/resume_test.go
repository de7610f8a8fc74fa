// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bufio"
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// newFollower is one that nobody runs: tests step it.
func newFollower(dir string) *follower {
	c := containerIn(dir, "a")
	l := &Logs{config: stateIn(dir), log: silent(), watch: &watch{}, stop: make(chan struct{})}
	return &follower{
		Container: c, logs: l, log: l.log, note: l.note(c.ID),
		spool: spool{path: c.Spool}, out: output{path: c.Path},
	}
}

// all carries over all there is; the end of the container too, if it has ended.
func (f *follower) all(t *testing.T, ended bool) {
	t.Helper()
	f.orders.ended = ended
	for {
		got, err := f.carry()
		if err != nil {
			t.Fatal(err)
		}
		if got == nothing {
			return
		}
	}
}

// moment is a state in which a daemon may have been killed.
type moment struct {
	note string
	log  int // length of the CRI log
}

// killed is a container whose log has been carried over, and the moments at
// which the position was noted.
type killed struct {
	*dockerLog
	dir     string
	note    string
	moments []moment
	whole   string // the CRI log
}

// newKilled has a sample of all kinds of lines, over rotations.
func newKilled(t *testing.T) *killed {
	dir := t.TempDir()
	must(t, os.MkdirAll(stateIn(dir).Dir, 0o755))
	k := &killed{dockerLog: newDockerLog(t, containerIn(dir, "a"), 0, 3), dir: dir}
	k.now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	l := &Logs{config: stateIn(dir)}
	must(t, l.Prepare(k.Container))
	k.note = l.note("a")
	f := newFollower(dir)
	step := func() {
		f.all(t, false)
		f.dirty = true
		f.keep()
		k.moments = append(k.moments, moment{readFile(t, k.note), len(readFile(t, k.Path))})
	}
	step()
	for _, print := range []func(){
		func() { k.write([]byte("foreign first\n")) },
		func() { k.println("one") },
		func() { k.print("stderr", "err <&>\n"); k.print("stdout", "\n") },
		func() { k.entry("stdout", "part "); k.entry("stdout", "part ") },
		func() { k.rotate(); k.entry("stdout", "part "); k.entry("stdout", "end\n") },
		func() { k.write([]byte("foreign\n\n{\"log\":\"torn")); k.println("after") },
		func() { k.rotate(); k.write([]byte(strings.Repeat("\x00", 100))); k.println("after a hole") },
		func() { k.println("bytes \xff\x00"); k.entry("stdout", "no newline") },
	} {
		print()
		step()
	}
	f.all(t, true)
	f.close()
	k.whole = readFile(t, k.Path)
	return k
}

// at makes the moment the present, with this many bytes of the log.
func (k *killed) at(t *testing.T, m moment, length int) *follower {
	writeFile(t, k.note, m.note)
	writeFile(t, k.Path, k.whole[:length]) // the inode stays
	return newFollower(k.dir)
}

// wantWhole wants a follower to complete the log, and to leave it alone if it is
// complete already.
func (k *killed) wantWhole(t *testing.T, f *follower, what string, args ...any) {
	t.Helper()
	for range 2 {
		f.all(t, true)
		f.close()
		if n := f.logs.count.losses.Load(); n > 0 {
			t.Errorf("%d losses", n)
		}
		f = newFollower(k.dir)
	}
	wantText(t, allLogs(t, k.Path), k.whole)
	if t.Failed() {
		t.Fatalf(what, args...)
	}
}

func TestResumeAtEveryByte(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	for n, m := range k.moments {
		for length := m.log; length <= len(k.whole); length++ {
			if n > 1 && (length+n)%5 > 0 { // for the time it takes
				continue
			}
			k.wantWhole(t, k.at(t, m, length), "noted at %d (%d), killed at %d", n, m.log, length)
		}
	}
}

// The kubelet has renamed the log while nobody was there. What was torn is
// completed where it was begun.
func TestResumeAfterRename(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	old := k.Path + ".20260102-150405"
	for n, m := range k.moments {
		for length := m.log; length <= len(k.whole); length += 23 {
			for _, made := range []bool{false, true} {
				f := k.at(t, m, length)
				must(t, os.Rename(k.Path, old))
				if made {
					writeFile(t, k.Path, "")
				}
				k.wantWhole(t, f, "noted at %d (%d), killed at %d, new log made: %v", n, m.log, length, made)
				must(t, os.Remove(k.Path), os.Rename(old, k.Path))
			}
		}
	}
}

// The log was reopened, and all is as it was when the old one was written, but
// for what is in the new one.
func TestResumeAfterReopen(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	old := k.Path + ".20260102-150405"
	for _, m := range k.moments {
		for _, renamed := range k.moments {
			for length := renamed.log; length < len(k.whole) && m.log <= renamed.log; length += 29 {
				f := k.at(t, m, renamed.log)
				must(t, os.Rename(k.Path, old))
				writeFile(t, k.Path, k.whole[renamed.log:length])
				k.wantWhole(t, f, "noted at %d, renamed at %d, killed at %d", m.log, renamed.log, length)
				must(t, os.Remove(k.Path), os.Rename(old, k.Path))
			}
		}
	}
}

// Without a position the log's end tells.
func TestResumeWithoutPosition(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	old := k.Path + ".20260102-150405"
	for _, note := range []string{"", "\x00\x00\x00", `{"spool":{"inode":77,"offset":1,"tail":2}}`} {
		for length := 0; length <= len(k.whole); length += 7 {
			if note != "" && length == 0 || length < len(foreignMark)+60 {
				continue // nothing to go by, not even a time
			}
			k.wantWhole(t, k.at(t, moment{note: note}, length), "note %q, killed at %d", note, length)
			f := k.at(t, moment{note: note}, length)
			must(t, os.Rename(k.Path, old))
			k.wantWhole(t, f, "note %q, killed at %d, renamed", note, length)
			must(t, os.Remove(k.Path), os.Rename(old, k.Path))
		}
	}
	f := k.at(t, moment{}, len(k.whole))
	must(t, os.Remove(k.note))
	k.wantWhole(t, f, "position removed")
}

// A power cut keeps a position and less of the log, or zeros; or the log and less
// of the spool.
func TestResumeAfterPowerCut(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	last := k.moments[len(k.moments)-1]
	for length := len(foreignMark) + 60; length <= len(k.whole); length += 5 {
		for _, zeros := range []int{0, 1, 5000, 2 * portionSize} {
			if zeros > 1 && length%10 > 0 {
				continue
			}
			f := k.at(t, last, length)
			must(t, os.Truncate(k.Path, int64(length+zeros)))
			k.wantWhole(t, f, "%d bytes and %d zeros are left", length, zeros)
		}
	}
	// The spool has lost its end, and Docker goes on.
	info, err := os.Stat(k.Spool)
	must(t, err)
	must(t, os.Truncate(k.Spool, info.Size()-20))
	k.size = info.Size() - 20
	k.file.Close()
	k.open(os.O_APPEND)
	k.now = k.now.Add(time.Second)
	f := k.at(t, last, len(k.whole))
	k.println("after the cut")
	f.all(t, true)
	f.close()
	got, _ := strings.CutPrefix(allLogs(t, k.Path), k.whole)
	if !strings.HasSuffix(got, " stdout F after the cut\n") || strings.Count(got, "\n") > 2 || strings.Contains(got, lossMark) {
		t.Errorf("after the cut: %q", got)
	}
}

// Equal parts have equal times.
func TestResumeWithinEqualParts(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	f := k.at(t, k.moments[len(k.moments)-1], len(k.whole))
	k.print("stdout", strings.Repeat("x", 5*partSize)+"\n")
	f.all(t, true)
	f.close()
	begin := len(k.whole)
	k.whole = readFile(t, k.Path)
	note := readFile(t, k.note)
	for length := begin; length < len(k.whole); length += 1000 {
		k.wantWhole(t, k.at(t, moment{note: note}, length), "cut at %d", length-begin)
	}
}

func lossesOf(t *testing.T, k *killed, f *follower) (text string, losses int64) {
	t.Helper()
	f.all(t, true)
	f.close()
	return allLogs(t, k.Path), f.logs.count.losses.Load()
}

func TestResumeTellsOfLoss(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	last := k.moments[len(k.moments)-1]
	f := k.at(t, last, len(k.whole))
	for range 3 {
		k.rotate()
		k.println("new")
	}
	got, losses := lossesOf(t, k, f)
	loss := cri(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC), "stderr", full, lossMark)[20:]
	rest, _ := strings.CutPrefix(got, k.whole)
	if losses != 1 || strings.Count(rest, loss[len(loss)-50:]) != 1 || strings.Count(rest, "stdout F new\n") != 3 || !strings.Contains(strings.SplitAfter(rest, "\n")[0], lossMark) {
		t.Errorf("%d losses: %q", losses, rest)
	}
	// Killed at every byte of that.
	begin := len(k.whole)
	k.whole = got
	for length := begin; length <= len(got); length++ {
		f := k.at(t, last, length)
		again, _ := lossesOf(t, k, f)
		wantText(t, again, got)
		if t.Failed() {
			t.Fatalf("killed at %d", length-begin)
		}
	}
}

// The file of the noted place is gone, but the log's last line is still there.
func TestResumeAfterPlaceIsGone(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	f := k.at(t, k.moments[1], len(k.whole)) // the place is in the oldest file
	k.rotate()
	k.println("new")
	got, losses := lossesOf(t, k, f)
	wantText(t, got, k.whole+k.want.String()[strings.LastIndex(strings.TrimSuffix(k.want.String(), "\n"), "\n")+1:])
	if losses != 0 {
		t.Errorf("%d losses", losses)
	}
}

// Somebody wrote into the log, or emptied it.
func TestResumeAfterMeddling(t *testing.T) {
	t.Parallel()
	k := newKilled(t)
	m := k.moments[len(k.moments)-2]
	f := k.at(t, m, len(k.whole))
	writeFile(t, k.Path, k.whole+"hello\n")
	got, losses := lossesOf(t, k, f)
	if wantText(t, got, k.whole+"hello\n"); losses != 0 {
		t.Errorf("%d losses", losses)
	}
	f = k.at(t, m, 0)
	got, losses = lossesOf(t, k, f)
	if !strings.HasSuffix(got, k.whole[m.log:]) || losses != 1 {
		t.Errorf("%d losses: %q", losses, got)
	}
}

// TestKilled kills a daemon again and again while the container writes and its
// log is rotated.
func TestKilled(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if given, err := strconv.ParseUint(os.Getenv("LOGS_TEST_SEED"), 10, 64); err == nil {
		seed = given
	}
	t.Logf("LOGS_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	r := &rig{t: t, dir: dir}
	r.restart()
	c := containerIn(dir, "a")
	must(t, r.Prepare(c))
	r.end()
	d := newDockerLog(t, c, 300_000, 60)
	for range 30 {
		kill := followInChild(t, dir)
		for range random.IntN(40) {
			for range random.IntN(30) {
				d.printRandom(random)
			}
			<-time.After(time.Duration(random.IntN(1000)) * time.Microsecond)
		}
		kill()
		if random.IntN(3) == 0 {
			must(t, gone(os.Rename(c.Path, c.Path+"."+time.Now().Format("20060102-150405.000000000"))))
		}
		for range random.IntN(30) {
			d.printRandom(random)
		}
	}
	r.restart()
	r.Follow(c)
	r.finish(d)
	r.wantLog(d)
	if n := r.Counts().Losses; n > 0 {
		t.Errorf("%d losses", n)
	}
	r.end()
}

func (d *dockerLog) printRandom(random *rand.Rand) {
	switch random.IntN(10) {
	case 0:
		d.print("stderr", strings.Repeat("long ", random.IntN(100)*random.IntN(100))+"\n")
	case 1:
		d.print("stdout", "no newline")
	case 2:
		d.print("stdout", "\n<>&\xff\x00\r\n")
	default:
		d.println("line %d", d.want.Len())
	}
}

// followInChild starts a daemon of its own process, and returns what kills it.
func followInChild(t *testing.T, dir string) (kill func()) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+dir)
	var stderr bytes.Buffer
	child.Stderr = &stderr
	out, err := child.StdoutPipe()
	must(t, err)
	_, err = child.StdinPipe() // it ends when this is closed
	must(t, err, child.Start())
	kill = func() {
		child.Process.Kill()
		child.Wait()
	}
	t.Cleanup(kill)
	if line, _, _ := bufio.NewReader(out).ReadLine(); string(line) != "following" {
		t.Fatalf("%s", stderr.String())
	}
	return kill
}

// A follower that is told to stop while it compares keeps its old position.
func TestStopWhileComparing(t *testing.T) {
	k := newKilled(t)
	f := k.at(t, k.moments[0], len(k.whole)/2)
	must(t, f.resume())
	f.dirty = true
	f.keep()
	if note := readFile(t, k.note); note != k.moments[0].note {
		t.Errorf("noted %s", note)
	}
	if err := f.reopen(context.Background()); err != nil {
		t.Error(err)
	}
	k.wantWhole(t, f, "reopened while comparing")
}

// What fails in the middle is done again from the beginning.
func TestSearchAgainAfterError(t *testing.T) {
	k := newKilled(t)
	f := k.at(t, k.moments[len(k.moments)-1], len(k.whole)/2)
	k.moments = nil
	away := k.Spool + "-away"
	must(t, os.Rename(k.Path, away), os.Mkdir(k.Path, 0o755))
	if _, err := f.carry(); err == nil {
		t.Error("a directory is a log")
	}
	must(t, os.Remove(k.Path), os.Rename(away, k.Path))
	k.wantWhole(t, f, "after an error")
}
