// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// noName is how the engine writes the tag or digest of an image that has none.
const noName = "<none>"

// ListedImage is an image as lists show it. The user it runs as is not in the
// engine's listing; [ImageUser] adds it.
func ListedImage(i image.Summary) *cri.Image {
	return &cri.Image{
		Id:          i.ID,
		RepoTags:    named(i.RepoTags),
		RepoDigests: named(i.RepoDigests),
		Size:        uint64(max(i.Size, 0)),
	}
}

// Image is an image with the user it runs as.
func Image(i image.InspectResponse) *cri.Image {
	out := &cri.Image{
		Id:          i.ID,
		RepoTags:    named(i.RepoTags),
		RepoDigests: named(i.RepoDigests),
		Size:        uint64(max(i.Size, 0)),
	}
	if i.Config != nil {
		ImageUser(out, i.Config.User)
	}
	return out
}

// ImageUser notes the user of an image's configuration, such as "1000",
// "1000:1000" or "nobody"; "" is root.
func ImageUser(i *cri.Image, configured string) {
	name, _, _ := strings.Cut(configured, ":")
	uid, err := strconv.ParseInt(name, 10, 64)
	switch {
	case name == "":
		i.Uid = &cri.Int64Value{}
	case err == nil:
		i.Uid = &cri.Int64Value{Value: uid}
	default:
		i.Username = name
	}
}

func named(refs []string) []string {
	return slices.DeleteFunc(slices.Clone(refs), func(r string) bool { return strings.Contains(r, noName) })
}

// ImageName is the full form of a reference by tag or digest, as the engine
// lists it: "busybox" becomes "busybox:latest". Of a name with both, the digest
// counts. It is empty for what is no name, an id for instance.
func ImageName(ref string) string {
	named, err := imageReference(ref)
	if err != nil {
		return ""
	}
	return reference.FamiliarString(named)
}

// PullName is the reference to ask a registry for. A name without tag or
// digest means latest; with both, the digest counts.
func PullName(ref string) (string, error) {
	named, err := imageReference(ref)
	if err != nil {
		return "", fmt.Errorf("image %q: %w: %w", ref, err, errdefs.ErrInvalidArgument)
	}
	return named.String(), nil
}

// imageReference parses a name in a registry. An id in full, "sha256:" with 64
// digits, could be read as an image called sha256, which nobody means.
func imageReference(ref string) (reference.Named, error) {
	if imageID.MatchString(ref) {
		return nil, errors.New("is an id, not a name")
	}
	return reference.ParseDockerRef(ref)
}

var imageID = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// RegistryAuth is the value of the engine's X-Registry-Auth header for CRI's
// credentials; empty when there are none. The auth field, as in Docker's own
// configuration file, is base64 of user:password.
func RegistryAuth(a *cri.AuthConfig) (string, error) {
	config := registry.AuthConfig{
		Username:      a.GetUsername(),
		Password:      a.GetPassword(),
		ServerAddress: a.GetServerAddress(),
		IdentityToken: a.GetIdentityToken(),
		RegistryToken: a.GetRegistryToken(),
	}
	if config.Username == "" && config.Password == "" && a.GetAuth() != "" {
		plain, err := base64.StdEncoding.DecodeString(a.GetAuth())
		user, password, found := strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
		if err != nil || !found {
			return "", fmt.Errorf("auth.auth: is not base64 of user:password: %w", errdefs.ErrInvalidArgument)
		}
		config.Username, config.Password = user, password
	}
	if config == (registry.AuthConfig{}) {
		return "", nil
	}
	return registry.EncodeAuthConfig(config)
}
