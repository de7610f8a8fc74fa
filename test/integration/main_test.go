// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMain lets the test binary also be the CNI plugin of cni_plugin_test.go,
// under whose name that links to it.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == faultyPlugin {
		os.Exit(runFaultyPlugin(os.Getenv, os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// needRig skips a test outside of the rig.
func needRig(t *testing.T) {
	t.Helper()
	for _, name := range []string{"ENGINE_HOST", "ENGINE_START", "RIG_DIR", "RIG_CGROUP"} {
		if os.Getenv(name) == "" {
			t.Skipf("%s is not set: needs the rig of test/engine/with-engine.sh, see make engine", name)
		}
	}
}

// program is the path of one of our programs.
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
