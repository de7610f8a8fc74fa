// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
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
		if err := CheckImage(ref); (err == nil) != (ref == hexID || ref == digest) {
			t.Errorf("CheckImage(%q) = %v", ref, err)
		}
	}
}

// FuzzImageNames: what is taken for a name is one to the engine too, means
// itself, and is found again by the name that the engine lists it by.
func FuzzImageNames(f *testing.F) {
	for _, ref := range []string{
		"busybox", "UPPER/case", "a:b:c", "busybox:1@" + digest, hexID, digest, "localhost/x", "host:5000/x", "[::1]:5000/x:y",
		"docker.io/library/x", "http://host/x", "docker-pullable://x", "-x", "x\x00", "\u202ex", strings.Repeat("n", 256),
	} {
		f.Add(ref)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		pull, err := PullName(ref)
		if (err == nil) != (pull != "") || err != nil && !errdefs.IsInvalidArgument(err) {
			t.Fatalf("PullName(%q) = %q, %v", ref, pull, err)
		}
		name := ImageName(ref)
		if (name == "") != (pull == "") {
			t.Errorf("%q is called %q, and pulled as %q", ref, name, pull)
		}
		if pull == "" {
			return
		}
		if CheckImage(ref) != nil {
			t.Errorf("%q can be pulled, and not be asked for", ref)
		}
		for _, same := range []string{pull, name} {
			if again, err := PullName(same); again != pull || err != nil {
				t.Errorf("%q is pulled as %q, but %q as %q, %v", ref, pull, same, again, err)
			}
			if again := ImageName(same); again != name {
				t.Errorf("%q is called %q, but %q is called %q", ref, name, same, again)
			}
		}
		if parsed, err := reference.ParseNormalizedNamed(pull); err != nil || reference.IsNameOnly(parsed) {
			t.Errorf("the engine's client does not take %q, or all tags of it: %v", pull, err)
		}
	})
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
		{"auth without padding", &cri.AuthConfig{Auth: strings.TrimRight(encoded("u:pw"), "=")}, registry.AuthConfig{Username: "u", Password: "pw"}},
		{"auth in the alphabet of URLs", &cri.AuthConfig{Auth: base64.URLEncoding.EncodeToString([]byte("u:??>~~"))}, registry.AuthConfig{Username: "u", Password: "??>~~"}},
		{"auth with a newline", &cri.AuthConfig{Auth: encoded("u:p") + "\n"}, registry.AuthConfig{Username: "u", Password: "p"}},
		{"auth without a password", &cri.AuthConfig{Auth: encoded("<token>:"), IdentityToken: "t"}, registry.AuthConfig{Username: "<token>", IdentityToken: "t"}},
		{"auth beside a user", &cri.AuthConfig{Username: "u", Auth: encoded("u:p")}, registry.AuthConfig{Username: "u", Password: "p"}},
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
	for _, auth := range []string{"!", "dXNlcg", base64.StdEncoding.EncodeToString([]byte("s3cret")), base64.StdEncoding.EncodeToString([]byte(":s3cret")), "dXNl*cg=="} {
		_, err := RegistryAuth(&cri.AuthConfig{Auth: auth})
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("auth %q: %v, want an invalid argument", auth, err)
		}
		if err != nil && (strings.Contains(err.Error(), auth) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("the error shows the credentials: %v", err)
		}
	}
}

func TestAuthServes(t *testing.T) {
	for _, c := range []struct {
		server, image string
		want          bool
	}{
		{"", "registry.example/app", true},
		{"registry.example", "registry.example/app", true},
		{"https://registry.example/v1/", "registry.example/app", true},
		{"http://Registry.Example:5000", "registry.example:5000/app", true},
		{"registry.example", "registry.example:5000/app", false},
		{"registry.example", "other.example/app", false},
		{"registry.example", "busybox", false},
		{"https://index.docker.io/v1/", "busybox", true},
		{"docker.io", "busybox", true},
		{"https://index.docker.io/v1/", "registry.example/app", false},
		{"[::1]:5000", "[::1]:5000/app", true},
	} {
		name, err := PullName(c.image)
		if err != nil {
			t.Fatal(err)
		}
		if got := AuthServes(&cri.AuthConfig{ServerAddress: c.server}, name); got != c.want {
			t.Errorf("credentials of %q for %s: %t, want %t", c.server, name, got, c.want)
		}
	}
}

func TestListedImage(t *testing.T) {
	const other = "sha256:" + "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
	for about, c := range map[string]struct {
		tags, digests         []string
		wantTags, wantDigests []string
	}{
		"by tag": {
			[]string{"busybox:1.36"}, []string{"busybox@" + other},
			[]string{"busybox:1.36"}, []string{"busybox@" + other},
		},
		"without a name": {[]string{"<none>:<none>"}, []string{"<none>@<none>"}, nil, nil},
		"by digest":      {[]string{"<none>:<none>"}, []string{"busybox@" + other}, nil, []string{"busybox@" + other}},
		"containerd's, of two repositories": {
			[]string{"busybox:1.36", "busybox:1", "localhost:5000/app:1"}, []string{"busybox@" + digest},
			[]string{"busybox:1.36", "busybox:1", "localhost:5000/app:1"}, []string{"busybox@" + digest, "localhost:5000/app@" + digest},
		},
		"containerd's, by tag and by digest": {
			[]string{"busybox:1.36", "app:1@" + digest}, []string{"busybox@" + digest},
			[]string{"busybox:1.36"}, []string{"app@" + digest, "busybox@" + digest},
		},
		"containerd's, of a name that is none": {
			[]string{"app:1", "What@" + digest, "What is this"}, []string{"app@" + digest},
			[]string{"app:1", "What is this"}, []string{"app@" + digest},
		},
		"containerd's, without a name": {nil, []string{digest}, nil, nil},
	} {
		got := ListedImage(image.Summary{ID: digest, Size: 42, RepoTags: c.tags, RepoDigests: c.digests})
		want := &cri.Image{Id: digest, Size: 42, RepoTags: c.wantTags, RepoDigests: c.wantDigests}
		if !proto.Equal(got, want) {
			t.Errorf("%s: %v, want %v", about, got, want)
		}
		if got := Image(image.InspectResponse{ID: digest, Size: 42, RepoTags: c.tags, RepoDigests: c.digests}); !proto.Equal(got, want) {
			t.Errorf("%s, inspected: %v, want %v", about, got, want)
		}
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
