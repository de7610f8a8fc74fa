// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	unixuser "github.com/moby/sys/user"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// NeedsExactUser tells whether a container may have only the groups that were
// asked for. The engine adds those of the image unless it is given the user and
// the group in numbers.
func NeedsExactUser(c *cri.ContainerConfig) bool { return strict(c.GetLinux().GetSecurityContext()) }

var exactUser = regexp.MustCompile(`^[0-9]+:[0-9]+$`)

// IsExactUser tells whether a user, as the engine takes it, is one and its group
// in numbers.
func IsExactUser(spec string) bool { return exactUser.MatchString(spec) }

// ExactUser is a user, as the engine takes it, and its group in numbers, by the
// files of its image. A number that they do not have is of the root group.
func ExactUser(spec, passwd, group string) (string, error) {
	u, err := unixuser.GetExecUser(spec, nil, strings.NewReader(passwd), strings.NewReader(group))
	if err != nil {
		return "", fmt.Errorf("config.linux.security_context: the user %q: %w: %w", spec, err, errdefs.ErrInvalidArgument)
	}
	return fmt.Sprintf("%d:%d", u.Uid, u.Gid), nil
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
