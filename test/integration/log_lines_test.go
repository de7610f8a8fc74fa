// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// line is one of a log in CRI's format.
type line struct {
	time, stream string
	tag          string
	text         string
}

// criLine is the format of
// https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
// as fluent-bit's parser has it.
var criLine = regexp.MustCompile(`^([^ ]+) (stdout|stderr) (P|F) (.*)$`)

// lines takes a log apart. One that is torn, or of another format, is an error.
func (n *node) lines(text []byte) (all []line) {
	n.Helper()
	for one := range bytes.Lines(text) {
		m := criLine.FindStringSubmatch(strings.TrimSuffix(string(one), "\n"))
		if m == nil || one[len(one)-1] != '\n' {
			n.Fatalf("no line of CRI's format: %.200q", one)
		}
		if _, err := time.Parse(time.RFC3339Nano, m[1]); err != nil {
			n.Fatalf("%v in %.200q", err, one)
		}
		all = append(all, line{m[1], m[2], m[3], m[4]})
	}
	return all
}

// written is what a container wrote, by its log; a line that is still being
// written to the log is left out.
func (n *node) written(log []byte) string {
	n.Helper()
	var text strings.Builder
	for _, l := range n.lines(log[:bytes.LastIndexByte(log, '\n')+1]) {
		text.WriteString(l.text)
		if l.tag == "F" {
			text.WriteByte('\n')
		}
	}
	return text.String()
}

// allLines are those of the container's log and of the files it was rotated to,
// oldest first.
func (c *workload) allLines() []line {
	c.Helper()
	path := c.status().GetLogPath()
	rotated, err := filepath.Glob(path + ".*")
	c.must("list the rotated logs", err)
	slices.Sort(rotated)
	var text []byte
	for _, file := range append(rotated, path) {
		part, err := os.ReadFile(file)
		c.must("read a log", err)
		if len(part) > 0 && part[len(part)-1] != '\n' {
			c.Errorf("%s ends in the middle of a line", file)
		}
		text = append(text, part...)
	}
	return c.lines(text)
}

// rotate is what the kubelet does with a log that has grown large. After an error
// it takes the renaming back.
func (c *workload) rotate(runtime cri.RuntimeServiceClient) error {
	path := c.logPath()
	renamed := fmt.Sprintf("%s.%s-%06d", path, time.Now().Format("20060102-150405"), number.Add(1))
	if err := os.Rename(path, renamed); err != nil {
		return err
	}
	_, err := runtime.ReopenContainerLog(c.Context(), &cri.ReopenContainerLogRequest{ContainerId: c.id})
	if err != nil {
		return errors.Join(err, os.Rename(renamed, path))
	}
	return nil
}

// logPath is where the container's log is, without asking for it.
func (c *workload) logPath() string {
	return filepath.Join(c.config.GetLogDirectory(), c.logName)
}

// counting writes the numbers from 1 to n, as fast as it can.
func counting(n int) string { return "/bin/busybox seq 1 " + strconv.Itoa(n) }

// wantCounted checks that the log has each number from 1 to last once, in order.
func (c *workload) wantCounted(last int) {
	c.Helper()
	lost, doubled, other := 0, 0, 0
	next := 1
	for _, l := range c.allLines() {
		switch got, err := strconv.Atoi(l.text); {
		case err != nil || l.tag != "F":
			if other++; other < 3 {
				c.Errorf("a line of something else: %+v", l)
			}
		case got < next:
			doubled++
		default:
			lost += got - next
			next = got + 1
		}
	}
	lost += last + 1 - next
	if lost+doubled+other > 0 {
		c.Errorf("container %.12s: of %d lines %d lost, %d doubled, %d of something else", c.id, last, lost, doubled, other)
	}
}
