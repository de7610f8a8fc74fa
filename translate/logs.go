// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// LogOptions is how the output of new containers is kept.
type LogOptions struct {
	// SpoolSize is the size at which the engine begins another json-file, as its
	// option max-size takes it, such as 32m; empty leaves it to the engine.
	SpoolSize string
	// SpoolFiles is how many json-files the engine keeps of a container.
	SpoolFiles int
	// Linked: the kubelet's log path becomes a link to the json-file. Otherwise
	// it becomes a file of CRI's own format.
	Linked bool
}

// logDriver is the one whose files are followed, whatever the engine's default is.
const logDriver = "json-file"

// Options of Docker's json-file driver, from
// https://docs.docker.com/engine/logging/drivers/json-file/.
const (
	optMaxSize  = "max-size"
	optMaxFile  = "max-file"
	optCompress = "compress"
)

// logConfig bounds the disk that a container's output takes. The engine adds
// what its own configuration says of the same driver, where this says nothing.
func logConfig(o LogOptions) container.LogConfig {
	if o.SpoolSize == "" {
		return container.LogConfig{Type: logDriver}
	}
	return container.LogConfig{Type: logDriver, Config: map[string]string{
		optMaxSize:  o.SpoolSize,
		optMaxFile:  strconv.Itoa(o.SpoolFiles),
		optCompress: "false", // what is compressed can neither be followed nor found again
	}}
}

// EngineRotates tells whether the engine itself keeps a container's json-file
// from growing.
func EngineRotates(c container.InspectResponse) bool {
	size := c.HostConfig.LogConfig.Config[optMaxSize]
	return size != "" && size != "-1"
}

var spoolSize = regexp.MustCompile(`^[1-9][0-9]*[kmg]?$`)

// Validate lists all that is wrong with the options.
func (o LogOptions) Validate() error {
	var p problems
	if o.SpoolSize != "" && !spoolSize.MatchString(o.SpoolSize) {
		p.add("log spool size", "%q is no size such as 32m", o.SpoolSize)
	}
	if o.SpoolSize != "" && o.SpoolFiles < 2 {
		p.add("log spool files", "%d: with fewer than 2 the engine throws away what has not been read yet", o.SpoolFiles)
	}
	return p.err()
}

// logCRI is the value of labelLog.
const logCRI = "cri"

// CRILog tells, by a container's Docker labels, whether it has a log of CRI's
// format. Otherwise it has a link to the engine's own, as older shims made it, or
// none at all.
func CRILog(labels map[string]string) bool { return labels[labelLog] == logCRI }

// logPath is where the kubelet expects the log; empty when it wants none.
func (c Container) logPath() string {
	if c.Pod.GetLogDirectory() == "" || c.Config.GetLogPath() == "" {
		return ""
	}
	return path.Join(c.Pod.GetLogDirectory(), c.Config.GetLogPath())
}

// checkLogPath keeps logs inside the pod's log directory.
func checkLogPath(p *problems, field string, c Container) {
	full := c.logPath()
	if full == "" {
		return
	}
	dir := path.Clean(c.Pod.GetLogDirectory())
	if !path.IsAbs(dir) {
		p.add("sandbox_config.log_directory", "%q is not an absolute path", c.Pod.GetLogDirectory())
	} else if !strings.HasPrefix(full, strings.TrimSuffix(dir, "/")+"/") {
		p.add(field, "%q leaves the log directory %s", c.Config.GetLogPath(), dir)
	}
}
