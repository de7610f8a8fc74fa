// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// faultyPlugin is a CNI plugin that goes last in a list and passes on what the
// others did, except for pods whose name asks for a fault.
const faultyPlugin = "faulty"

// The beginnings of the names of pods that it treats badly, and its own words.
const (
	failsPod    = "fails"
	hangsPod    = "hangs"
	faultyWords = "no cable is plugged in"
)

// runFaultyPlugin is the plugin's main. It returns the exit code.
func runFaultyPlugin(env func(string) string, stdin io.Reader, stdout io.Writer) int {
	var config struct {
		PrevResult json.RawMessage `json:"prevResult"`
	}
	answer := func(v any) { _ = json.NewEncoder(stdout).Encode(v) }
	switch err := json.NewDecoder(stdin).Decode(&config); {
	case err != nil:
		answer(map[string]any{"cniVersion": "1.0.0", "code": 6, "msg": err.Error()})
		return 1
	case env("CNI_COMMAND") == "VERSION":
		answer(map[string]any{"cniVersion": "1.0.0", "supportedVersions": []string{"1.0.0"}})
	case env("CNI_COMMAND") != "ADD":
	case strings.Contains(env("CNI_ARGS"), "K8S_POD_NAME="+failsPod):
		answer(map[string]any{"cniVersion": "1.0.0", "code": 100, "msg": faultyWords})
		return 1
	case strings.Contains(env("CNI_ARGS"), "K8S_POD_NAME="+hangsPod):
		<-time.After(time.Hour) // until it is killed
	default:
		answer(config.PrevResult)
	}
	return 0
}

// installFaultyPlugin puts the plugin where the daemon finds it.
func (n *node) installFaultyPlugin() {
	n.Helper()
	self, err := os.Executable()
	n.must("find the test's own program", err)
	n.must("install the plugin", os.Symlink(self, filepath.Join(n.plugins, faultyPlugin)))
}

// conflist is a CNI configuration of a bridge of its own, with more plugins
// after it.
func conflist(name, subnet string, more ...string) string {
	bridge := fmt.Sprintf(`{"type": "bridge", "bridge": %q, "isGateway": true, "ipMasq": true,
		"ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}`, name, subnet)
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "plugins": [%s]}`, name, strings.Join(append([]string{bridge}, more...), ", "))
}

// writeConf writes a file of CNI configuration.
func (n *node) writeConf(name, text string) {
	n.Helper()
	n.must("write the CNI configuration", os.WriteFile(filepath.Join(n.conf, name), []byte(text), 0o644))
}

func (n *node) removeConf(name string) {
	n.Helper()
	n.must("remove the CNI configuration", os.Remove(filepath.Join(n.conf, name)))
}
