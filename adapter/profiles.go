// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/dockershimd/dockershimd/translate"
)

// maxProfile bounds a seccomp profile, which travels in the request to the
// engine. Docker's own is 12 KiB.
const maxProfile = 1 << 20

// securityProfiles is what both of CRI's security contexts say of profiles.
type securityProfiles interface {
	GetSeccomp() *cri.SecurityProfile
	GetSeccompProfilePath() string
	GetApparmor() *cri.SecurityProfile
}

// readProfiles reads what a security context's profiles refer to. oldAppArmor
// is the deprecated string, which only containers have.
func readProfiles(sc securityProfiles, oldAppArmor string) (p translate.Profiles, err error) {
	if file := translate.SeccompFile(sc.GetSeccomp(), sc.GetSeccompProfilePath()); file != "" {
		if p.Seccomp, err = readSeccomp(file); err != nil {
			return p, err
		}
	}
	if sc.GetApparmor() != nil || oldAppArmor != "" {
		p.AppArmor, err = appArmorProfiles()
	}
	return p, err
}

func readSeccomp(file string) (string, error) {
	if !filepath.IsAbs(file) {
		return "", nil // translation refuses it
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("seccomp profile: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if !info.Mode().IsRegular() || info.Size() > maxProfile {
		return "", fmt.Errorf("seccomp profile %s: is no file of at most %d bytes: %w", file, maxProfile, errdefs.ErrInvalidArgument)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("seccomp profile: %w", err)
	}
	return string(b), nil
}
