// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/versions"
)

// imageStore is the variable by which test/engine/start.sh chooses.
const imageStore = "RIG_IMAGE_STORE"

// pullPatience is how long pulls may stand still here.
const pullPatience = 3 * time.Second

// TestImageStores goes through what a kubelet asks of images, with each image
// store that the engine has. For another store the engine must be started anew,
// which takes longer than most parts do.
func TestImageStores(t *testing.T) {
	n := newNode(t, "--image-pull-progress-deadline="+pullPatience.String())
	parts := map[string]func(n *node){
		"ids":           (*node).imageIDs,
		"removal":       (*node).removal,
		"tags moved":    (*node).tagsMoved,
		"tag renewed":   (*node).tagRenewed,
		"refused":       (*node).refusedPulls,
		"damaged":       (*node).damagedPulls,
		"credentials":   (*node).credentials,
		"tokens":        (*node).tokens,
		"given up":      (*node).pullsGivenUp,
		"not given up":  (*node).pullsNotGivenUp,
		"shared":        (*node).sharedPull,
		"odd reference": (*node).oddReferences,
	}
	t.Cleanup(func() {
		n.endEngine(syscall.SIGTERM)
		n.startEngine()
	})
	for _, store := range []string{"graph driver", "containerd"} {
		n.sub(store, func(n *node) {
			n.withStore(store)
			for name, part := range parts {
				n.sub(name, part)
			}
		})
	}
}

// withStore starts the engine with an image store. It does not repeat a download
// that fails, or some parts would take a minute.
func (n *node) withStore(store string) {
	n.Helper()
	if v := n.engine.ClientVersion(); store == "containerd" && versions.LessThan(v, "1.44") {
		n.Skipf("an engine of API %s has no containerd image store", v)
	}
	n.Setenv(imageStore, store)
	n.endEngine(syscall.SIGTERM)
	n.startEngine("--max-download-attempts=1")
	n.engine.needImages(n)
}

// onContainerd tells whether the engine runs with that store.
func onContainerd() bool { return os.Getenv(imageStore) == "containerd" }
