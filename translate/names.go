// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Docker names are those of dockershim, which people look for in docker ps:
//
//	k8s_<container>_<pod>_<namespace>_<uid>_<attempt>
//
// with POD as the container of a sandbox. They make creation happen once, since
// the engine refuses a second container of the same name.
const namePrefix = "k8s"

// nameField is what Docker allows inside a container name.
var nameField = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)

// sandboxDockerName is the name of a sandbox's pause container.
func sandboxDockerName(meta *cri.PodSandboxMetadata) string {
	return dockerName(sandboxName, meta, meta.GetAttempt())
}

// containerDockerName is the name of a workload container.
func containerDockerName(pod *cri.PodSandboxMetadata, meta *cri.ContainerMetadata) string {
	return dockerName(meta.GetName(), pod, meta.GetAttempt())
}

// dockerName joins the fields. Kubernetes allows no underscore in any of them;
// where another client uses one, a digest as seventh field keeps names apart
// that would otherwise be the same.
func dockerName(container string, pod *cri.PodSandboxMetadata, attempt uint32) string {
	fields := []string{container, pod.GetName(), pod.GetNamespace(), pod.GetUid()}
	name := strings.Join(append(append([]string{namePrefix}, fields...), strconv.FormatUint(uint64(attempt), 10)), "_")
	if strings.Contains(strings.Join(fields, ""), "_") {
		sum := sha256.Sum256([]byte(strings.Join(fields, "\x00")))
		name += "_" + hex.EncodeToString(sum[:4])
	}
	return name
}

// dockerNameFields are the parts of a name that an older shim gave.
type dockerNameFields struct{ container, pod, namespace, uid, attempt string }

// parseName takes an older shim's name apart. It may have a leading slash, as
// inspect returns it, and a seventh field, which cri-dockerd adds after a
// conflict. Any other name gives empty fields.
func parseName(name string) dockerNameFields {
	f := strings.Split(strings.TrimPrefix(name, "/"), "_")
	if (len(f) != 6 && len(f) != 7) || f[0] != namePrefix {
		return dockerNameFields{}
	}
	return dockerNameFields{container: f[1], pod: f[2], namespace: f[3], uid: f[4], attempt: f[5]}
}

// checkName adds a problem when the field cannot be part of a Docker name.
func checkName(p *problems, field, value string) {
	switch {
	case value == "":
		p.add(field, "is required")
	case !nameField.MatchString(value):
		p.add(field, "%q cannot be part of a Docker container name, which takes letters, digits, '_', '.' and '-'", value)
	}
}

func checkSandboxMetadata(p *problems, field string, m *cri.PodSandboxMetadata) {
	if m == nil {
		p.add(field, "is required")
		return
	}
	checkName(p, field+".name", m.GetName())
	checkName(p, field+".namespace", m.GetNamespace())
	checkName(p, field+".uid", m.GetUid())
}
