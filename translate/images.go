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
	out := &cri.Image{Id: i.ID, Size: uint64(max(i.Size, 0))}
	out.RepoTags, out.RepoDigests = imageNames(i.ID, i.RepoTags, i.RepoDigests)
	return out
}

// Image is an image with the user it runs as.
func Image(i image.InspectResponse) *cri.Image {
	out := &cri.Image{Id: i.ID, Size: uint64(max(i.Size, 0))}
	out.RepoTags, out.RepoDigests = imageNames(i.ID, i.RepoTags, i.RepoDigests)
	if i.Config != nil {
		ImageUser(out, i.Config.User)
	}
	return out
}

// imageNames are an image's names by tag and by digest. The containerd image
// store mixes them, lists a bare digest for an image without names, and of the
// repositories that have the image only one. Its ids are the digests that
// registries know, so that every repository with a tag has the image by its id.
func imageNames(id string, listedTags, listedDigests []string) (tags, digests []string) {
	containerd := false
	for _, name := range slices.Concat(listedTags, listedDigests) {
		_, digest, byDigest := strings.Cut(name, "@")
		switch {
		case strings.Contains(name, noName):
		case name == id:
			containerd = true
		case byDigest:
			containerd = containerd || digest == id
			if name = ImageName(name); name != "" {
				digests = append(digests, name)
			}
		default:
			tags = append(tags, name)
		}
	}
	if containerd {
		for _, tag := range tags {
			if named, err := imageReference(tag); err == nil {
				digests = append(digests, reference.FamiliarName(named)+"@"+id)
			}
		}
	}
	slices.Sort(digests)
	return tags, slices.Compact(digests)
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
		// Of what is too long, no more is shown than the longest good one has.
		return "", fmt.Errorf("%.512q %w; an image is written as [registry/]repository[:tag][@digest]: %w", ref, err, errdefs.ErrInvalidArgument)
	}
	return named.String(), nil
}

// CheckImage refuses what can mean no image: neither a name nor an id, or the
// beginning of one.
func CheckImage(ref string) error {
	if imageID.MatchString(ref) {
		return nil
	}
	_, err := PullName(ref)
	return err
}

// imageReference parses a name in a registry. An id in full, "sha256:" with 64
// digits, could be read as an image called sha256, which nobody means.
func imageReference(ref string) (reference.Named, error) {
	if imageID.MatchString(ref) {
		return nil, errors.New("is an id, not a name")
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return nil, fmt.Errorf("is no image reference: %w", err)
	}
	return named, nil
}

// imageID is an id in full. The beginning of one could be a name as well.
var imageID = regexp.MustCompile(`^(sha256:)?[0-9a-f]{64}$`)

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
	if config.Password == "" && a.GetAuth() != "" {
		var ok bool
		if config.Username, config.Password, ok = userPassword(a.GetAuth()); !ok {
			return "", fmt.Errorf("auth.auth: is not base64 of user:password: %w", errdefs.ErrInvalidArgument)
		}
	}
	if config == (registry.AuthConfig{}) {
		return "", nil
	}
	return registry.EncodeAuthConfig(config)
}

// anyBase64 makes the alphabet of URLs the common one.
var anyBase64 = strings.NewReplacer("-", "+", "_", "/")

// userPassword reads an auth field. Docker's command writes the common alphabet,
// padded, and old versions of it NULs at the end; the kubelet reads unpadded
// ones too; and some tools write the alphabet of URLs.
func userPassword(auth string) (user, password string, ok bool) {
	plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(anyBase64.Replace(strings.TrimSpace(auth)), "="))
	if err != nil {
		return "", "", false
	}
	user, password, ok = strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
	return user, password, ok && user != ""
}

// AuthServes tells whether credentials are for the registry of a name as
// [PullName] gives it. Without a server address they are for any.
func AuthServes(a *cri.AuthConfig, name string) bool {
	server := a.GetServerAddress()
	if server == "" {
		return true
	}
	for _, scheme := range []string{"https://", "http://"} {
		server = strings.TrimPrefix(server, scheme)
	}
	server, _, _ = strings.Cut(server, "/")
	host, _, _ := strings.Cut(name, "/")
	return registryHost(server) == registryHost(host)
}

// registryHost gives the one name of Docker Hub to each of its names.
func registryHost(host string) string {
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return strings.ToLower(host)
}
