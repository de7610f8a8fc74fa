// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestRuntimeHandlers runs a pod by each handler that the status names.
func TestRuntimeHandlers(t *testing.T) {
	k := newKubelet(t)
	r, err := k.runtime.Status(k.Context(), &cri.StatusRequest{})
	k.must("Status", err)
	seen := map[string]bool{}
	for _, h := range r.GetRuntimeHandlers() {
		if seen[h.GetName()] {
			k.Errorf("the handler %q is named twice", h.GetName())
		}
		seen[h.GetName()] = true
	}
	if !seen[""] {
		k.Errorf("the handlers are %v, without the default one", r.GetRuntimeHandlers())
	}
	for name := range seen {
		k.sub("handler "+name, func(k *kubelet) {
			p := k.runPod(name, podConfig(k.TempDir()))
			if got := p.output("echo here"); got != "here\n" {
				k.Errorf("a container says %q", got)
			}
			if got := p.status().GetRuntimeHandler(); got != name {
				k.Errorf("the status says %q", got)
			}
			list := k.listPods(&cri.PodSandboxFilter{Id: p.id})
			if len(list) != 1 || list[0].GetRuntimeHandler() != name {
				k.Errorf("the list says %v", list)
			}
		})
	}
	for _, name := range []string{"unheard-of", "Unheard Of", "../runc"} {
		k.sub("not "+name, func(k *kubelet) {
			k.keepBalance()
			_, err := k.tryPod(name, podConfig(k.TempDir()))
			k.wantRefusal(err, name)
		})
	}
}
