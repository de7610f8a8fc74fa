// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var (
	hexID  = strings.Repeat("0123456789abcdef", 4)
	digest = "sha256:" + hexID
)

func TestImageNames(t *testing.T) {
	for _, c := range []struct{ ref, name, pull string }{
		{"busybox", "busybox:latest", "docker.io/library/busybox:latest"},
		{"busybox:1.36", "busybox:1.36", "docker.io/library/busybox:1.36"},
		{"docker.io/library/busybox", "busybox:latest", "docker.io/library/busybox:latest"},
		{"somebody/app", "somebody/app:latest", "docker.io/somebody/app:latest"},
		{"busybox@" + digest, "busybox@" + digest, "docker.io/library/busybox@" + digest},
		{"busybox:1.36@" + digest, "busybox@" + digest, "docker.io/library/busybox@" + digest},
		{"localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"},
		{"registry.example:5000/team/app:v1", "registry.example:5000/team/app:v1", "registry.example:5000/team/app:v1"},
		{"[fd00::1]:5000/app:v1", "[fd00::1]:5000/app:v1", "[fd00::1]:5000/app:v1"},
		{"beef", "beef:latest", "docker.io/library/beef:latest"}, // digits of an id can be a name, too
	} {
		if got := ImageName(c.ref); got != c.name {
			t.Errorf("ImageName(%q) = %q, want %q", c.ref, got, c.name)
		}
		if got, err := PullName(c.ref); got != c.pull || err != nil {
			t.Errorf("PullName(%q) = %q, %v, want %q", c.ref, got, err, c.pull)
		}
	}
}

func TestWhatIsNoImageName(t *testing.T) {
	for _, ref := range []string{
		"", " ", "Busybox", "library/Busybox:1", "busybox:", "busybox:a b", "busybox@sha256:1234", "a//b", "/a", "-a",
		"https://registry.example/app", hexID, digest,
	} {
		if got := ImageName(ref); got != "" {
			t.Errorf("ImageName(%q) = %q, want none", ref, got)
		}
		if got, err := PullName(ref); got != "" || !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), ref) {
			t.Errorf("PullName(%q) = %q, %v, want an invalid argument that names it", ref, got, err)
		}
	}
}

func TestRegistryAuth(t *testing.T) {
	encoded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, c := range []struct {
		about string
		auth  *cri.AuthConfig
		want  registry.AuthConfig
	}{
		{"user and password", &cri.AuthConfig{Username: "u", Password: "p", ServerAddress: "registry.example"},
			registry.AuthConfig{Username: "u", Password: "p", ServerAddress: "registry.example"}},
		{"auth", &cri.AuthConfig{Auth: encoded("u:p")}, registry.AuthConfig{Username: "u", Password: "p"}},
		{"auth with a colon in the password", &cri.AuthConfig{Auth: encoded("u:p:q")}, registry.AuthConfig{Username: "u", Password: "p:q"}},
		{"auth as old Docker padded it", &cri.AuthConfig{Auth: encoded("u:p\x00\x00")}, registry.AuthConfig{Username: "u", Password: "p"}},
		{"auth beside user and password", &cri.AuthConfig{Username: "u", Password: "p", Auth: "!"}, registry.AuthConfig{Username: "u", Password: "p"}},
		{"identity token", &cri.AuthConfig{IdentityToken: "t"}, registry.AuthConfig{IdentityToken: "t"}},
		{"registry token", &cri.AuthConfig{RegistryToken: "t"}, registry.AuthConfig{RegistryToken: "t"}},
	} {
		header, err := RegistryAuth(c.auth)
		if err != nil {
			t.Errorf("%s: %v", c.about, err)
		}
		if got := decodeAuth(t, header); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.about, got, c.want)
		}
	}
}

// decodeAuth reads the header as the engine does (moby: registry.DecodeAuthConfig).
func decodeAuth(t *testing.T, header string) registry.AuthConfig {
	t.Helper()
	text, err := base64.URLEncoding.DecodeString(header)
	if err != nil {
		t.Fatalf("header %q: %v", header, err)
	}
	var a registry.AuthConfig
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("header %q: %v", text, err)
	}
	return a
}

func TestNoRegistryAuth(t *testing.T) {
	for _, a := range []*cri.AuthConfig{nil, {}} {
		if got, err := RegistryAuth(a); got != "" || err != nil {
			t.Errorf("RegistryAuth(%v) = %q, %v, want none", a, got, err)
		}
	}
}

func TestBadRegistryAuth(t *testing.T) {
	for _, auth := range []string{"!", "dXNlcg", base64.StdEncoding.EncodeToString([]byte("s3cret"))} {
		_, err := RegistryAuth(&cri.AuthConfig{Auth: auth})
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("auth %q: %v, want an invalid argument", auth, err)
		}
		if err != nil && (strings.Contains(err.Error(), auth) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("the error shows the credentials: %v", err)
		}
	}
}

func TestListedImage(t *testing.T) {
	got := ListedImage(image.Summary{
		ID: digest, Size: 42, RepoTags: []string{"busybox:1.36", "<none>:<none>"}, RepoDigests: []string{"busybox@" + digest, "<none>@<none>"},
	})
	want := &cri.Image{Id: digest, Size: 42, RepoTags: []string{"busybox:1.36"}, RepoDigests: []string{"busybox@" + digest}}
	if !proto.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := ListedImage(image.Summary{Size: -1}); got.Size != 0 {
		t.Errorf("a size that is not known becomes %d, want 0", got.Size)
	}
}

func TestImageUser(t *testing.T) {
	uid := func(n int64) *cri.Int64Value { return &cri.Int64Value{Value: n} }
	for configured, want := range map[string]*cri.Image{
		"":              {Uid: uid(0)},
		"0":             {Uid: uid(0)},
		"1000":          {Uid: uid(1000)},
		"1000:2000":     {Uid: uid(1000)},
		"nobody":        {Username: "nobody"},
		"nobody:nobody": {Username: "nobody"},
		":2000":         {Uid: uid(0)},
	} {
		var inspect image.InspectResponse
		if err := json.Unmarshal(fmt.Appendf(nil, `{"Config": {"User": %q}}`, configured), &inspect); err != nil {
			t.Fatal(err)
		}
		i := Image(inspect)
		if !proto.Equal(i.Uid, want.Uid) || i.Username != want.Username {
			t.Errorf("user %q: uid %v, name %q; want %v, %q", configured, i.Uid, i.Username, want.Uid, want.Username)
		}
	}
	if i := Image(image.InspectResponse{ID: digest}); i.Id != digest || i.Uid != nil || i.Username != "" {
		t.Errorf("an image without configuration becomes %v", i)
	}
}
