// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	empty, err := Measure(t.Context(), dir)
	if err != nil || empty.Inodes != 1 {
		t.Fatalf("an empty folder has %+v, %v", empty, err)
	}
	write("a", 1<<20)
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "the same")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	full, err := Measure(t.Context(), dir)
	if err != nil || full.Inodes != 3 || full.Bytes < 1<<20 || full.Bytes > 1<<20+1<<16 {
		t.Errorf("a folder with a file of two names and a link has %+v, %v", full, err)
	}
	if none, err := Measure(t.Context(), filepath.Join(dir, "absent")); err != nil || none.Inodes != 0 {
		t.Errorf("what is not there has %+v, %v", none, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Measure(ctx, dir); err == nil {
		t.Error("it does not end with its context")
	}
}

// A container that has ended keeps its last size, one that is gone does not.
func TestLayers(t *testing.T) {
	var l Layers
	ctx, cancel := context.WithCancel(t.Context())
	rounds := 0
	l.set("ended", Size{Bytes: 1})
	l.set("gone", Size{Bytes: 1})
	l.Run(ctx, func() map[string]string {
		rounds++
		return map[string]string{"runs": t.TempDir()}
	}, func(id string) bool {
		cancel() // one round is enough
		return id != "gone"
	})
	_, runs := l.Size("runs")
	_, ended := l.Size("ended")
	_, gone := l.Size("gone")
	if rounds != 1 || !runs || !ended || gone {
		t.Errorf("after %d rounds: runs %t, ended %t, gone %t", rounds, runs, ended, gone)
	}
}
