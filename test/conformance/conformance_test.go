// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mode is one way to run all of critest.
type mode struct {
	name  string
	flags []string
}

// modes: each spec runs twice, and the streaming specs over either transport.
var modes = []mode{
	{"serial", nil},
	{"parallel", []string{"-parallel=4", "-websocket-exec", "-websocket-attach", "-websocket-portforward"}},
}

func TestConformance(t *testing.T) {
	if os.Getenv("ENGINE_HOST") == "" || os.Getenv("RIG_DIR") == "" {
		t.Skip("needs the rig of test/engine/with-engine.sh, see make conformance")
	}
	engine, focus := os.Getenv("ENGINE_VERSION"), os.Getenv("FOCUS")
	want := readExpected(t, "expected.txt")
	serveImages(t, imageSet(t))

	document := readDocument(t)
	for _, m := range modes {
		if only := os.Getenv("MODE"); only != "" && only != m.name {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			got := m.run(t, focus)
			for _, problem := range want.compare(engine, m.name, got, focus != "") {
				t.Error(problem)
			}
			document.record(engine, m.name, got)
			t.Log(got.summary())
		})
	}
	if focus == "" && os.Getenv("MODE") == "" {
		document.write(t, want)
	}
}

// run is critest from beginning to end, with a daemon of its own.
func (m mode) run(t *testing.T, focus string) results {
	t.Helper()
	dir := filepath.Join(os.Getenv("RIG_DIR"), m.name)
	temp := filepath.Join(dir, "tmp")
	must(t, os.MkdirAll(temp, 0o755))
	d := startDaemon(t, dir)
	d.removeImages(t)
	log, err := os.Create(filepath.Join(os.Getenv("RIG_DIR"), m.name+"-critest.log"))
	must(t, err)
	defer log.Close()
	// In parallel, the report's path is relative to a folder that critest makes in TMPDIR.
	report := filepath.Join(temp, "report.json")
	c := exec.CommandContext(t.Context(), program(t, "CRITEST", "critest"), append([]string{
		"-runtime-endpoint=" + d.endpoint, "-image-endpoint=" + d.endpoint,
		"-ginkgo.json-report=../report.json", "-ginkgo.no-color", "-ginkgo.focus=" + focus,
	}, m.flags...)...)
	c.Dir = filepath.Join(temp, "work")
	must(t, os.Mkdir(c.Dir, 0o755))
	c.Env = append(os.Environ(), "TMPDIR="+temp, "PATH="+filepath.Dir(program(t, "GINKGO", "ginkgo"))+":"+os.Getenv("PATH"))
	c.Stdout, c.Stderr = log, log
	// Failed specs make it fail, and are in the report.
	if err := c.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return readReport(t, report)
}

// program is the path of a program that make builds; the variable may name another.
func program(t *testing.T, variable, name string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		path = filepath.Join("..", "..", "bin", name)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v: make bin/%s builds it; %s may name another", err, name, variable)
	}
	return path
}

// summary counts results.
func (r results) summary() string {
	var passed, skipped int
	var failed []string
	for spec, got := range r {
		switch got.state {
		case passes:
			passed++
		case skips:
			skipped++
		case fails:
			failed = append(failed, spec)
		}
	}
	return fmt.Sprintf("%d passed, %d skipped, %d failed%s", passed, skipped, len(failed), strings.Join(append([]string{""}, failed...), "\n\t"))
}
