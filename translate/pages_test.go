// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/internal/golden"
)

// The sections of a page. A page asks for a sandbox or a container and says
// what comes of it: an engine body or a refusal.
const (
	sectionFacts     = "facts"           // JSON of Facts, on top of capable
	sectionProfiles  = "profiles"        // JSON of Profiles
	sectionHandler   = "runtime handler" // a word
	sectionPod       = "pod"             // PodSandboxConfig that a container's request repeats
	sectionSandbox   = "sandbox"         // PodSandboxConfig
	sectionContainer = "container"       // ContainerConfig
	sectionFound     = "found"           // JSON of the fields of Container that the adapter finds out
	sectionEngine    = "engine"          // what the request adds to the body of an empty one
	sectionNotices   = "notices"         // one per line
	sectionRefused   = "refused"         // the error, one problem per line
)

var sections = []string{
	sectionFacts, sectionProfiles, sectionFound, sectionHandler, sectionPod, sectionSandbox, sectionContainer,
	sectionEngine, sectionNotices, sectionRefused,
}

// capable are the facts of a node that can do everything.
func capable() Facts {
	return Facts{
		APIVersion: "1.51", EngineVersion: "28.5.2",
		CgroupDriver: "cgroupfs", CgroupVersion: 2,
		Runtimes:      map[string]RuntimeFeatures{"": {RecursiveReadOnly: true}, "runc": {RecursiveReadOnly: true}, "runsc": {}},
		OOMScoreFloor: oomScoreMin,
		AppArmor:      true, SELinux: true,
		CDI:                true,
		HugePages:          []string{"2MB", "1GB"},
		UnifiedControllers: []string{"cpu", "hugetlb", "io", "memory"},
	}
}

// podMetadata is a pod's identity where a test does not care for it.
func podMetadata() *cri.PodSandboxMetadata {
	return &cri.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "uid1"}
}

// TestPages holds every page of testdata to what it says.
func TestPages(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no pages in testdata: %v", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) { comparePage(t, path) })
	}
}

func comparePage(t *testing.T, path string) {
	page, err := golden.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range page.Sections {
		if !slices.Contains(sections, s.Name) {
			t.Errorf("%s: there is no section called %q", path, s.Name)
		}
	}
	request := readRequest(t, page)
	body, notices, err := request.body()
	want, wrong, got := sectionEngine, sectionRefused, ""
	if err != nil {
		want, wrong, got = sectionRefused, sectionEngine, betweenProblems.ReplaceAllString(err.Error(), "\n$1")
	} else {
		got = render(t, difference(bodyMap(t, request.plainBody(t)), bodyMap(t, body)))
	}
	if _, there := page.Content(wrong); there {
		t.Fatalf("%s has a section %q, but the answer is %q:\n%s", path, wrong, want, got)
	}
	golden.Compare(t, path, want, got)
	compareNotices(t, path, page, notices)
}

// betweenProblems is where one problem of an error ends and the next begins.
var betweenProblems = regexp.MustCompile(`; (config\.|sandbox_config\.|runtime_handler )`)

func compareNotices(t *testing.T, path string, page golden.Page, notices []Notice) {
	var lines []string
	for _, n := range notices {
		lines = append(lines, n.Field+": "+n.Text)
	}
	if _, there := page.Content(sectionNotices); there || len(lines) > 0 {
		golden.Compare(t, path, sectionNotices, strings.Join(lines, "\n"))
	}
}

// pageRequest is what a page asks for; exactly one of sandbox and container is set.
type pageRequest struct {
	facts     Facts
	sandbox   *Sandbox
	container *Container
}

func readRequest(t *testing.T, page golden.Page) pageRequest {
	r := pageRequest{facts: capable()}
	unmarshal(t, page, sectionFacts, &r.facts)
	var profiles Profiles
	unmarshal(t, page, sectionProfiles, &profiles)
	handler, _ := page.Content(sectionHandler)
	handler = strings.TrimSpace(handler)
	pod := &cri.PodSandboxConfig{}
	unmarshal(t, page, sectionPod, pod)
	sandbox, app := &cri.PodSandboxConfig{}, &cri.ContainerConfig{}
	switch isSandbox, isContainer := unmarshal(t, page, sectionSandbox, sandbox), unmarshal(t, page, sectionContainer, app); {
	case isSandbox == isContainer:
		t.Fatalf("a page has either a section %q or a section %q", sectionSandbox, sectionContainer)
	case isSandbox:
		r.sandbox = &Sandbox{Config: sandbox, Handler: handler, PauseImage: "pause", Profiles: profiles}
	default:
		r.container = &Container{
			Config: app, Pod: pod, SandboxID: "sandbox1", Metadata: podMetadata(), Handler: handler,
			Namespaces: pod.GetLinux().GetSecurityContext().GetNamespaceOptions(),
			ImageID:    "sha256:image", Profiles: profiles,
		}
		var found struct {
			ExactUser, StagingKey string
			Volumes               map[int]VolumeImage
			Staged                map[int]string
		}
		unmarshal(t, page, sectionFound, &found)
		r.container.ExactUser, r.container.StagingKey = found.ExactUser, found.StagingKey
		r.container.Volumes, r.container.Staged = found.Volumes, found.Staged
	}
	r.complete()
	return r
}

// complete adds what every kubelet sends and most pages leave out: an identity,
// and a container's security context.
func (r pageRequest) complete() {
	if r.sandbox != nil && r.sandbox.Config.Metadata == nil {
		r.sandbox.Config.Metadata = podMetadata()
	}
	if r.container == nil {
		return
	}
	c := r.container.Config
	if c.Metadata == nil {
		c.Metadata = &cri.ContainerMetadata{Name: "app"}
	}
	if c.Linux == nil {
		c.Linux = &cri.LinuxContainerConfig{}
	}
	if c.Linux.SecurityContext == nil {
		c.Linux.SecurityContext = &cri.LinuxContainerSecurityContext{}
	}
}

func (r pageRequest) body() (Body, []Notice, error) {
	if r.sandbox != nil {
		return SandboxBody(r.facts, *r.sandbox)
	}
	return ContainerBody(r.facts, *r.container)
}

// plainBody is the body of an empty request on a capable node, with which a
// page is compared. A page that is itself just this is compared with nothing.
func (r pageRequest) plainBody(t *testing.T) Body {
	plain := pageRequest{facts: capable()}
	if r.sandbox != nil {
		plain.sandbox = &Sandbox{Config: &cri.PodSandboxConfig{}, PauseImage: r.sandbox.PauseImage}
	} else {
		c := *r.container
		c.Config, c.Pod, c.Handler, c.Profiles = &cri.ContainerConfig{}, &cri.PodSandboxConfig{}, "", Profiles{}
		c.ExactUser, c.StagingKey, c.Volumes, c.Staged = "", "", nil, nil
		plain.container = &c
	}
	plain.complete()
	if plain.equal(r) {
		return Body{Config: &container.Config{}, Host: &container.HostConfig{}}
	}
	body, _, err := plain.body()
	if err != nil {
		t.Fatalf("an empty request is refused: %v", err)
	}
	return body
}

func (r pageRequest) equal(o pageRequest) bool {
	if !reflect.DeepEqual(r.facts, o.facts) {
		return false
	}
	if r.sandbox != nil {
		return proto.Equal(r.sandbox.Config, o.sandbox.Config) && r.sandbox.Handler == o.sandbox.Handler
	}
	return proto.Equal(r.container.Config, o.container.Config) && proto.Equal(r.container.Pod, o.container.Pod) &&
		r.container.Handler == o.container.Handler
}

// unmarshal reads a section of JSON and tells whether the page has it. What it
// does not know, it does not pass over.
func unmarshal(t *testing.T, page golden.Page, section string, into any) bool {
	text, there := page.Content(section)
	if !there {
		return false
	}
	var err error
	if m, ok := into.(proto.Message); ok {
		err = protojson.Unmarshal([]byte(text), m)
	} else {
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		err = d.Decode(into)
	}
	if err != nil {
		t.Fatalf("section %q: %v", section, err)
	}
	return true
}

// bodyMap is a body as its JSON has it, without the fingerprint, which is
// another for every request.
func bodyMap(t testing.TB, b Body) map[string]any {
	m := jsonMap(t, b.Config)
	m["Name"], m["HostConfig"] = b.Name, jsonMap(t, b.Host)
	if labels, ok := m["Labels"].(map[string]any); ok {
		delete(labels, labelFingerprint)
	}
	return m
}

func jsonMap(t testing.TB, v any) map[string]any {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// difference is what got has that base has not, or has otherwise.
func difference(base, got map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range got {
		inner, isMap := v.(map[string]any)
		before, wasMap := base[k].(map[string]any)
		if isMap && wasMap {
			if d := difference(before, inner); len(d) > 0 {
				out[k] = d
			}
		} else if !reflect.DeepEqual(v, base[k]) {
			out[k] = v
		}
	}
	return out
}

func render(t testing.TB, v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
