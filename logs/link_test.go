// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
)

// linked is a container whose log is a link to Docker's file.
func linked(t *testing.T) Container {
	t.Helper()
	c := containerIn(t.TempDir(), "a")
	writeFile(t, c.Spool, "old\n")
	must(t, Link(c.Path, c.Spool))
	return c
}

func wantLinked(t *testing.T, c Container) {
	t.Helper()
	if !linksTo(c.Path, c.Spool) {
		target, err := os.Readlink(c.Path)
		t.Errorf("the log is a link to %q, %v", target, err)
	}
}

func TestLink(t *testing.T) {
	c := linked(t)
	wantLinked(t, c)
	must(t, Link(c.Path, c.Spool)) // repeated
	// A link that belongs to another container by now stays.
	other := filepath.Join(t.TempDir(), "other-json.log")
	must(t, Link(c.Path, other), Unlink(c.Path, c.Spool))
	if !linksTo(c.Path, other) {
		t.Error("another container's link was removed")
	}
	must(t, Unlink(c.Path, other), Unlink(c.Path, other))
	if _, err := os.Lstat(c.Path); !os.IsNotExist(err) {
		t.Errorf("the link is left: %v", err)
	}
	for _, put := range []func() error{
		func() error { return os.WriteFile(c.Path, []byte("precious"), 0o600) },
		func() error { return os.Mkdir(c.Path, 0o755) },
	} {
		must(t, put())
		if err := Link(c.Path, c.Spool); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("something is in the way: %v", err)
		}
		must(t, os.Remove(c.Path))
	}
}

// TestStaleLinkGivesWay: an older shim's link to a file that is gone does, any
// other link does not.
func TestStaleLinkGivesWay(t *testing.T) {
	for _, test := range []struct {
		target string
		stale  bool
	}{{"/nowhere/a-json.log", true}, {"/nowhere/else", false}, {"/etc/passwd", false}} {
		path := filepath.Join(t.TempDir(), "0.log")
		must(t, os.Symlink(test.target, path), unlinkStale(path))
		if _, err := os.Lstat(path); os.IsNotExist(err) != test.stale {
			t.Errorf("link to %s: %v", test.target, err)
		}
	}
}

func TestCopyTruncate(t *testing.T) {
	c := linked(t)
	must(t, CopyTruncate(c.Path, c.Spool)) // nobody has renamed it
	wantLinked(t, c)
	renamed := c.Path + ".20260102-150405"
	must(t, os.Rename(c.Path, renamed), CopyTruncate(c.Path, c.Spool))
	wantLinked(t, c)
	wantText(t, readFile(t, renamed), "old\n")
	wantText(t, readFile(t, c.Spool), "")
	if left, _ := filepath.Glob(c.Path + ".*"); len(left) != 1 {
		t.Errorf("there are %q", left)
	}
}

// TestCopyTruncateInterrupted: the daemon was killed on the way, and the kubelet
// has taken the renaming back, or begun another.
func TestCopyTruncateInterrupted(t *testing.T) {
	c := linked(t)
	renamed := c.Path + ".20260102-150405"
	must(t, os.Symlink(c.Spool, c.Path+nextSuffix)) // a link that did not come to its place
	// The copy was in its place, and became the log again.
	must(t, os.Rename(c.Path, renamed), moveContent(c.Spool, renamed), os.Rename(renamed, c.Path))
	writeFile(t, c.Spool, "new\n")
	must(t, os.Rename(c.Path, renamed), CopyTruncate(c.Path, c.Spool))
	wantLinked(t, c)
	wantText(t, readFile(t, renamed)+readFile(t, c.Spool), "old\nnew\n")
	// Two renamed links: the content goes to the younger.
	must(t, os.Rename(c.Path, c.Path+".20260103-150405"), os.Symlink(c.Spool, c.Path+".20260104-150405"), CopyTruncate(c.Path, c.Spool))
	wantLinked(t, c)
	wantText(t, readFile(t, c.Path+".20260104-150405"), "new\n")
	if left, _ := filepath.Glob(c.Path + ".*"); len(left) != 2 {
		t.Errorf("there are %q", left)
	}
}

func TestRelink(t *testing.T) {
	c := linked(t)
	must(t, os.Rename(c.Path, c.Path+".20260102-150405"), Relink(c.Path, c.Spool))
	wantLinked(t, c)
	wantText(t, readFile(t, c.Spool), "old\n")
	if left, _ := filepath.Glob(c.Path + ".*"); len(left) != 0 {
		t.Errorf("there are %q", left)
	}
}
