// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestInKernelLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	const record = "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/pod/0123abcd,task=tail,pid=1,uid=0\n"
	if err := os.WriteFile(path, []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"0123abcd": true, "0123abce": false} {
		if got, err := inKernelLog(path, "oom-kill:", id); got != want || err != nil {
			t.Errorf("%s: %t, %v", id, got, err)
		}
	}
	if _, err := inKernelLog(path+"absent", "oom-kill:", "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	// The machine's own, where it may be read, comes to an end.
	if got, err := inKernelLog(kernelLog, "oom-kill:", "no such container"); got {
		t.Errorf("found what is not there; %v", err)
	}
}
