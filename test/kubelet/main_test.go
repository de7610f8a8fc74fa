// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// suite is what all tests share, once TestMain has found a runtime.
var suite struct {
	missing  string // why there is none
	client   *client
	registry *registry // nil with IMAGE
	image    string    // of the test containers
	cniConf  string    // where the runtime looks for CNI configurations, or empty
	baseline inventory // what there is without pods
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintf(os.Stderr, "the suite: %v\n", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run finds or starts the runtime, prepares it, and runs the tests.
func run(m *testing.M) (code int, err error) {
	endpoint, stop, err := findRuntime()
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if endpoint == "" {
		suite.missing = "neither CRI_ENDPOINT names a runtime's socket, nor is this the rig of test/engine/with-engine.sh"
		return m.Run(), nil
	}
	if suite.client, err = dial(endpoint); err != nil {
		return 1, err
	}
	defer suite.client.conn.Close()
	if err := prepare(context.Background()); err != nil {
		return 1, err
	}
	code = m.Run()
	return code, tidy(context.Background())
}

// findRuntime is the socket that the environment names, or that of a daemon
// that it starts. There may be neither.
func findRuntime() (endpoint string, stop func() error, err error) {
	suite.cniConf = os.Getenv("CNI_CONF_DIR")
	if endpoint := os.Getenv("CRI_ENDPOINT"); endpoint != "" {
		return endpoint, func() error { return nil }, nil
	}
	if os.Getenv("ENGINE_HOST") == "" || os.Getenv("RIG_DIR") == "" {
		return "", func() error { return nil }, nil
	}
	d, err := startDaemon()
	if err != nil {
		return "", nil, err
	}
	suite.cniConf = d.conf
	return d.endpoint, d.stop, nil
}

// prepare waits for the runtime, brings the images, and runs the first pods:
// what these leave behind is made once and shared by all pods, such as a bridge
// and the chains of a firewall.
func prepare(ctx context.Context) error {
	if err := suite.client.awaitReady(ctx); err != nil {
		return err
	}
	if suite.image = os.Getenv("IMAGE"); suite.image == "" {
		suite.registry = newRegistry()
		if err := suite.registry.publishAll(); err != nil {
			return err
		}
		suite.image = suite.registry.ref(busybox)
	}
	for _, image := range images() {
		if err := suite.client.needImage(ctx, image); err != nil {
			return err
		}
	}
	if err := suite.client.firstPods(ctx); err != nil {
		return fmt.Errorf("the first pods: %w", err)
	}
	var err error
	suite.baseline, err = suite.client.inventory(ctx)
	return err
}

// images are those of the whole run.
func images() []string {
	if suite.registry == nil {
		return []string{suite.image}
	}
	return []string{suite.image, suite.registry.ref(userImage), suite.registry.ref(volumeImage)}
}

// tidy removes the images that the suite has published, and looks that nothing
// else is left.
func tidy(ctx context.Context) error {
	errs := []error{suite.client.leftBehind(ctx, suite.baseline)}
	if suite.registry != nil {
		for _, image := range images() {
			errs = append(errs, suite.client.removeImage(ctx, image))
		}
		errs = append(errs, suite.client.leftImages(ctx))
		suite.registry.server.Close()
	}
	return errors.Join(errs...)
}

// leftImages names those of the suite's registry that the runtime still has.
func (c *client) leftImages(ctx context.Context) error {
	r, err := c.images.ListImages(ctx, &cri.ListImagesRequest{})
	if err != nil {
		return err
	}
	for _, i := range r.GetImages() {
		if strings.Contains(fmt.Sprint(i.GetRepoTags(), i.GetRepoDigests()), suite.registry.host()) {
			err = errors.Join(err, fmt.Errorf("left behind: image %v", i))
		}
	}
	return err
}
