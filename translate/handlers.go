// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/json"
	"slices"

	"github.com/docker/docker/api/types/system"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// featuresKey is where the engine shows what an OCI runtime answered to its
// features command (API 1.44).
const featuresKey = "org.opencontainers.runtime-spec.features"

// recursiveReadOnlyOption is the OCI mount option for recursive_read_only.
const recursiveReadOnlyOption = "rro"

// Runtimes reads the engine's OCI runtimes and their features. A runtime that
// says nothing of itself has none.
func Runtimes(info system.Info) map[string]RuntimeFeatures {
	out := make(map[string]RuntimeFeatures, len(info.Runtimes))
	for name, r := range info.Runtimes {
		var features struct {
			MountOptions []string `json:"mountOptions"`
		}
		// Text that is not the expected JSON leaves the features empty.
		_ = json.Unmarshal([]byte(r.Status[featuresKey]), &features)
		out[name] = RuntimeFeatures{RecursiveReadOnly: slices.Contains(features.MountOptions, recursiveReadOnlyOption)}
	}
	if d, ok := out[info.DefaultRuntime]; ok {
		out[""] = d
	}
	return out
}

// Handlers are the runtime handlers that the kubelet may ask for, the default,
// "", first.
func Handlers(f Facts) []*cri.RuntimeHandler {
	out := []*cri.RuntimeHandler{{Name: "", Features: f.handlerFeatures("")}}
	for _, name := range sortedKeys(f.Runtimes) {
		if name != "" {
			out = append(out, &cri.RuntimeHandler{Name: name, Features: f.handlerFeatures(name)})
		}
	}
	return out
}

// handlerFeatures: user namespaces are none of the Engine API's.
func (f Facts) handlerFeatures(handler string) *cri.RuntimeHandlerFeatures {
	if handler == "docker" {
		handler = ""
	}
	return &cri.RuntimeHandlerFeatures{
		RecursiveReadOnlyMounts: f.Can(ReadOnlyModes) && f.Runtimes[handler].RecursiveReadOnly,
	}
}
