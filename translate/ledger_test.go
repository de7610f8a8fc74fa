// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestLedger sets each field of CRI's requests alone. It must change what the
// engine is asked for, be refused by name, be another package's work, or have a
// line in ledger.txt; and a line whose field is honoured is out of date.
func TestLedger(t *testing.T) { coverage(t) }

// TestLedgerMethods holds the ledger's lines about RPCs to what the adapter has.
func TestLedgerMethods(t *testing.T) {
	lines := readLedger(t)
	for _, m := range methods() {
		name := methodName(m)
		_, listed := lines[name]
		switch implemented := implemented(t, m); {
		case implemented && listed:
			t.Errorf("ledger.txt: %s is implemented; take its line out", name)
		case !implemented && !listed:
			t.Errorf("%s is not implemented and has no line in ledger.txt", name)
		}
	}
}

// line is what the ledger says of a field, of one value of a field, or of an RPC.
type line struct{ kind, reason string }

// kinds of lines, as the ledger's head explains them.
var lineKinds = []string{"later", "unsupported", "moot"}

var lineForm = regexp.MustCompile(`^(\S+)  (\w+): (\S.*)$`)

func readLedger(t testing.TB) map[string]line {
	text, err := os.ReadFile("ledger.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]line{}
	for row := range strings.Lines(string(text)) {
		row = strings.TrimSuffix(row, "\n")
		if row == "" || strings.HasPrefix(row, "#") {
			continue
		}
		parts := lineForm.FindStringSubmatch(row)
		if parts == nil || !slices.Contains(lineKinds, parts[2]) {
			t.Errorf("ledger.txt: %q is not of the form \"path  kind: reason\" with a kind of %v", row, lineKinds)
			continue
		}
		if _, twice := lines[parts[1]]; twice {
			t.Errorf("ledger.txt: %s is there twice", parts[1])
		}
		lines[parts[1]] = line{parts[2], parts[3]}
	}
	return lines
}

// elsewhere are the fields that this package checks at most, by the package
// that honours them. A message stands for its fields.
var elsewhere = map[string]string{
	"PodSandboxConfig.port_mappings":                                    "network",
	"StatusRequest.verbose":                                             "adapter",
	"RunPodSandboxRequest.runtime_handler":                              "adapter",
	"StopPodSandboxRequest.pod_sandbox_id":                              "adapter",
	"RemovePodSandboxRequest.pod_sandbox_id":                            "adapter",
	"PodSandboxStatusRequest.pod_sandbox_id":                            "adapter",
	"PodSandboxStatusRequest.verbose":                                   "adapter",
	"ContainerConfig.mounts.selinux_relabel":                            "adapter",
	"UpdatePodSandboxResourcesRequest.overhead":                         "adapter",
	"UpdatePodSandboxResourcesRequest.resources":                        "adapter",
	"CreateContainerRequest.pod_sandbox_id":                             "adapter",
	"StartContainerRequest.container_id":                                "adapter",
	"StopContainerRequest.container_id":                                 "adapter",
	"StopContainerRequest.timeout":                                      "adapter",
	"RemoveContainerRequest.container_id":                               "adapter",
	"ContainerStatsRequest.container_id":                                "adapter",
	"ListContainerStatsRequest.filter":                                  "adapter",
	"StreamContainerStatsRequest.filter":                                "adapter",
	"ContainerStatusRequest.container_id":                               "adapter",
	"ContainerStatusRequest.verbose":                                    "adapter",
	"ReopenContainerLogRequest.container_id":                            "adapter",
	"UpdateContainerResourcesRequest.container_id":                      "adapter",
	"UpdatePodSandboxResourcesRequest.pod_sandbox_id":                   "adapter",
	"UpdateRuntimeConfigRequest.runtime_config.network_config.pod_cidr": "adapter",
	"ListImagesRequest.filter":                                          "adapter",
	"ImageStatusRequest.verbose":                                        "adapter",
	"ExecSyncRequest.container_id":                                      "adapter",
	"ExecSyncRequest.timeout":                                           "adapter",
	"ExecRequest.container_id":                                          "adapter",
	"ExecRequest.stdout":                                                "streaming",
	"AttachRequest.container_id":                                        "adapter",
	"AttachRequest.stdout":                                              "streaming",
	"AttachRequest.tty":                                                 "streaming",
	"PortForwardRequest.pod_sandbox_id":                                 "adapter",
	"PortForwardRequest.port":                                           "streaming",
}

// TestElsewhere looks for the fields in the packages that are said to honour them.
func TestElsewhere(t *testing.T) {
	for path, folder := range elsewhere {
		field := goName(path[strings.LastIndex(path, ".")+1:])
		if !regexp.MustCompile(`\.(Get)?` + field + `\b`).MatchString(sources(t, folder)) {
			t.Errorf("%s is said to be honoured by package %s, which never reads %s", path, folder, field)
		}
	}
}

func goName(field string) string {
	var name string
	for _, word := range strings.Split(field, "_") {
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	return name
}

// sources are the Go files of one of our packages, tests apart.
func sources(t testing.TB, folder string) string {
	files, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files in %s: %v", folder, err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			all.Write(text)
		}
	}
	return all.String()
}

// methods are the RPCs of CRI.
func methods() []protoreflect.MethodDescriptor {
	var out []protoreflect.MethodDescriptor
	services := (&cri.VersionRequest{}).ProtoReflect().Descriptor().ParentFile().Services()
	for i := range services.Len() {
		all := services.Get(i).Methods()
		for j := range all.Len() {
			out = append(out, all.Get(j))
		}
	}
	return out
}

func methodName(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("%s.%s", m.Parent().Name(), m.Name())
}

func implemented(t testing.TB, m protoreflect.MethodDescriptor) bool {
	return strings.Contains(sources(t, "adapter"), fmt.Sprintf("func (s *Server) %s(", m.Name())) ||
		strings.Contains(sources(t, "adapter"), fmt.Sprintf("func (*Server) %s(", m.Name()))
}
