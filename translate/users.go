// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	unixuser "github.com/moby/sys/user"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Wants is what has to be found out about a container's user in its image.
type Wants struct {
	// Exact: the user and the group in numbers, since only the groups that were
	// asked for may be had, and the engine adds those of the image unless it is given
	// both numbers.
	Exact bool
	// Groups: those that the image gives the user, which the engine leaves out if
	// another primary group is given.
	Groups bool
	// Name: whether there is a user of the name.
	Name bool
}

// UserWants tells what the request leaves open.
func UserWants(c *cri.ContainerConfig) Wants {
	sc := c.GetLinux().GetSecurityContext()
	named := sc.GetRunAsUsername() != ""
	return Wants{
		Exact:  strict(sc),
		Groups: !strict(sc) && sc.GetRunAsGroup() != nil && (named || sc.GetRunAsUser() != nil),
		Name:   named,
	}
}

var exactUser = regexp.MustCompile(`^[0-9]+:[0-9]+$`)

// IsExactUser tells whether a user, as the engine takes it, is one and its group
// in numbers.
func IsExactUser(spec string) bool { return exactUser.MatchString(spec) }

// ExactUser is a user, as the engine takes it, and its group in numbers, by the
// files of its image, and the other groups that these give the user. A number
// that they do not have is of the root group.
func ExactUser(spec, passwd, group string) (exact string, groups []string, err error) {
	u, err := unixuser.GetExecUser(spec, nil, strings.NewReader(passwd), strings.NewReader(group))
	if err != nil {
		return "", nil, fmt.Errorf("config.linux.security_context: the user %q: %w: %w", spec, err, errdefs.ErrInvalidArgument)
	}
	// With a group of its own the user is not looked up among the members.
	name, _, _ := strings.Cut(spec, ":")
	member, err := unixuser.GetExecUser(name, nil, strings.NewReader(passwd), strings.NewReader(group))
	if err == nil {
		for _, gid := range member.Sgids {
			groups = append(groups, strconv.Itoa(gid))
		}
	}
	return fmt.Sprintf("%d:%d", u.Uid, u.Gid), groups, nil
}

// ProbeBody is a container of the same image and the same name that is never
// started: it serves to look into the image. It has no fingerprint, so that
// nobody takes it for the container itself.
func ProbeBody(c Container) Body {
	labels := containerLabels(c)
	delete(labels, labelFingerprint)
	return Body{
		Name: containerDockerName(c.Metadata, c.Config.GetMetadata()),
		Config: &container.Config{
			Image: c.ImageID, Labels: labels, Cmd: []string{"never started"}, Healthcheck: noHealthcheck(),
		},
		Host: &container.HostConfig{NetworkMode: "none", LogConfig: container.LogConfig{Type: "none"}},
	}
}
