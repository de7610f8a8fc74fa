// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestExecBody(t *testing.T) {
	size := TerminalSize{Width: 80, Height: 24}
	for name, test := range map[string]struct {
		request *cri.ExecRequest
		want    container.ExecOptions
	}{
		"pipes": {
			&cri.ExecRequest{Cmd: []string{"sh", "-c", "true"}, Stdin: true, Stdout: true, Stderr: true},
			container.ExecOptions{Cmd: []string{"sh", "-c", "true"}, AttachStdin: true, AttachStdout: true, AttachStderr: true},
		},
		"terminal": {
			&cri.ExecRequest{Cmd: []string{"sh"}, Tty: true, Stdin: true, Stdout: true},
			container.ExecOptions{
				Cmd: []string{"sh"}, Tty: true, AttachStdin: true, AttachStdout: true,
				DetachKeys: detachKeys, ConsoleSize: &[2]uint{24, 80},
			},
		},
		"the engine's word has to be read": {
			&cri.ExecRequest{Cmd: []string{"sh"}, Stdin: true},
			container.ExecOptions{Cmd: []string{"sh"}, AttachStdin: true, AttachStdout: true},
		},
	} {
		if got := ExecBody(test.request, size); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
	if body := ExecBody(&cri.ExecRequest{Tty: true}, TerminalSize{}); body.ConsoleSize != nil {
		t.Errorf("size %v of a terminal whose size is not known", body.ConsoleSize)
	}
}

func TestAttachBody(t *testing.T) {
	of := func(config container.Config) container.InspectResponse {
		return container.InspectResponse{Config: &config}
	}
	all := &cri.AttachRequest{Stdin: true, Stdout: true, Stderr: true}
	for name, test := range map[string]struct {
		config container.Config
		want   container.AttachOptions
		ends   bool
	}{
		"no input":       {container.Config{}, container.AttachOptions{Stream: true, Stdout: true, Stderr: true}, false},
		"input":          {container.Config{OpenStdin: true}, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true}, false},
		"input once":     {container.Config{OpenStdin: true, StdinOnce: true}, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true}, true},
		"terminal":       {container.Config{Tty: true}, container.AttachOptions{Stream: true, Stdout: true, DetachKeys: detachKeys}, false},
		"terminal, once": {container.Config{Tty: true, OpenStdin: true, StdinOnce: true}, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, DetachKeys: detachKeys}, false},
	} {
		if got := AttachBody(all, of(test.config)); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
		if AttachEndsStdin(of(test.config)) != test.ends {
			t.Errorf("%s: the end of the input is passed on: %v", name, !test.ends)
		}
	}
}

func TestStartFailure(t *testing.T) {
	for _, test := range []struct {
		engineCode   int
		text, reason string
		code         int
		ok           bool
	}{
		// As 20.10 and 26.1 write it, then as 28.5 does.
		{126, "OCI runtime exec failed: exec failed: unable to start container process: exec: \"x\": executable file not found in $PATH: unknown\r\n",
			`exec: "x": executable file not found in $PATH`, 127, true},
		{127, "OCI runtime exec failed: exec failed: unable to start container process: exec: \"x\": executable file not found in $PATH\r\n",
			`exec: "x": executable file not found in $PATH`, 127, true},
		{126, "OCI runtime exec failed: exec failed: unable to start container process: exec: \"/x\": stat /x: no such file or directory: unknown\r\n",
			`exec: "/x": stat /x: no such file or directory`, 127, true},
		{126, "OCI runtime exec failed: exec failed: unable to start container process: exec: \"/data\": permission denied: unknown\r\n",
			`exec: "/data": permission denied`, 126, true},
		{127, "OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd (\"/gone\") set in config.json failed: no such file or directory\r\n",
			`chdir to cwd ("/gone") set in config.json failed: no such file or directory`, 127, true},
		{126, "OCI runtime exec failed: exec failed: cannot exec in a stopped container: unknown\r\n",
			"OCI runtime exec failed: exec failed: cannot exec in a stopped container", 126, false},
		{126, "", "", 126, false},
	} {
		code, reason, ok := StartFailure(test.engineCode, test.text)
		if code != test.code || reason != test.reason || ok != test.ok {
			t.Errorf("%q: %d, %q, %v; want %d, %q, %v", test.text, code, reason, ok, test.code, test.reason, test.ok)
		}
	}
}

func TestStreamRequestsRefused(t *testing.T) {
	sh := []string{"sh"}
	for word, err := range map[string]error{
		"cmd":                           CheckExecSync(&cri.ExecSyncRequest{}),
		"names no command":              CheckExecSync(&cri.ExecSyncRequest{Cmd: []string{"", "x"}}),
		"cmd[1]: contains a NUL":        CheckExecSync(&cri.ExecSyncRequest{Cmd: []string{"sh", "\x00"}}),
		"timeout: -1 s":                 CheckExecSync(&cri.ExecSyncRequest{Cmd: sh, Timeout: -1}),
		"cmd: names no command":         CheckExec(&cri.ExecRequest{Stdout: true}),
		"at least one":                  CheckExec(&cri.ExecRequest{Cmd: sh}),
		"one output":                    CheckExec(&cri.ExecRequest{Cmd: sh, Tty: true, Stdout: true, Stderr: true}),
		"leave stderr out, or tty":      CheckAttach(&cri.AttachRequest{Tty: true, Stdout: true, Stderr: true}),
		"stdin, stdout and stderr":      CheckAttach(&cri.AttachRequest{}),
		"0 is no port":                  CheckPortForward(&cri.PortForwardRequest{Port: []int32{80, 0}}),
		"65536 is no port: want 1 to 6": CheckPortForward(&cri.PortForwardRequest{Port: []int32{65536}}),
		"-1 is no port":                 CheckPortForward(&cri.PortForwardRequest{Port: []int32{-1}}),
	} {
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), word) {
			t.Errorf("%v, want an invalid argument with %q", err, word)
		}
	}
	for _, err := range []error{
		CheckExecSync(&cri.ExecSyncRequest{Cmd: sh, Timeout: 1}),
		CheckExec(&cri.ExecRequest{Cmd: sh, Tty: true, Stdin: true, Stdout: true}),
		CheckAttach(&cri.AttachRequest{Stderr: true}),
		CheckPortForward(&cri.PortForwardRequest{}),
		CheckPortForward(&cri.PortForwardRequest{Port: []int32{1, 65535}}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
}
