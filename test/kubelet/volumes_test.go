// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// imageAt mounts a part of the image that serves as a volume.
func imageAt(path, sub string) *cri.Mount {
	return &cri.Mount{ContainerPath: path, Image: &cri.ImageSpec{Image: suite.registry.ref(volumeImage)}, ImageSubPath: sub, Readonly: true}
}

// needImageVolumes skips a test of a runtime that refuses image volumes as it
// should. There is no feature that tells.
func (p *pod) needImageVolumes() {
	p.Helper()
	p.needOwnImages()
	id, err := p.tryCreate(containerConfig(p.config, idle, mounted(imageAt("/mnt", ""))))
	if err != nil {
		p.wantRefusal(err, "image")
		p.Skipf("this runtime has no image volumes: %v", err)
	}
	p.must("RemoveContainer", (&container{pod: p, id: id}).remove())
}

// TestImageVolumes mounts one image three times in a container.
func TestImageVolumes(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	p.needImageVolumes()
	asked := []*cri.Mount{imageAt("/all", ""), imageAt("/small", "models/small"), imageAt("/large", "models/large")}
	c := p.container(idle, mounted(asked...))
	for path, want := range map[string]string{"/all/top": "at the top", "/small/weights": "light", "/large/weights": "heavy"} {
		if got := c.exec("cat", path); got != want {
			k.Errorf("%s says %q, want %q", path, got, want)
		}
	}
	r, err := c.tryExec("touch", "/all/new")
	k.must("ExecSync", err)
	if r.GetExitCode() == 0 || !strings.Contains(string(r.GetStderr()), "Read-only file system") {
		k.Errorf("touch ends with %d, %q", r.GetExitCode(), r.GetStderr())
	}
	c.wantMounts(asked...)
	for _, m := range c.status().GetMounts() {
		if !strings.Contains(m.GetImage().GetImageRef(), "sha256:") {
			k.Errorf("the status says that %s is %q, want a digest", m.GetContainerPath(), m.GetImage().GetImageRef())
		}
	}
	// The image is in use: it stays, or the container keeps what it has.
	err = k.removeImage(k.Context(), suite.registry.ref(volumeImage))
	k.Logf("RemoveImage of a mounted image: %v", err)
	if got := c.exec("cat", "/large/weights"); got != "heavy" {
		k.Errorf("after RemoveImage it says %q", got)
	}
	k.must("RemoveContainer", c.remove())
	k.must("pull it again", k.needImage(k.Context(), suite.registry.ref(volumeImage)))
}

// TestImageVolumeByID: kubelets mount what PullImage gave them.
func TestImageVolumeByID(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	p.needImageVolumes()
	m := imageAt("/mnt", "models/small/weights")
	m.Image = &cri.ImageSpec{Image: k.image(suite.registry.ref(volumeImage)).GetId(), UserSpecifiedImage: suite.registry.ref(volumeImage)}
	if got := p.output("cat /mnt", mounted(m)); got != "light" {
		k.Errorf("a file of an image says %q", got)
	}
}

// TestImageVolumesRefused: what is not there or leads out of the image.
func TestImageVolumesRefused(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	p.needImageVolumes()
	absent := imageAt("/mnt", "")
	absent.Image = &cri.ImageSpec{Image: suite.registry.ref("kubelet/unheard-of:1")}
	_, err := p.tryCreate(containerConfig(p.config, idle, mounted(absent)))
	k.wantRefusalCode(err, codes.NotFound, codes.FailedPrecondition, codes.InvalidArgument)
	for name, sub := range map[string]string{"upwards": "../etc", "absolute": "/models", "not there": "no/such/path", "a link that leads out": "out/passwd"} {
		k.sub(name, func(k *kubelet) {
			p := p.in(k)
			id, err := p.tryCreate(containerConfig(p.config, "cat /mnt; ls /mnt", mounted(imageAt("/mnt", sub))))
			if err == nil { // some runtimes look when they mount
				c := &container{pod: p, id: id}
				err = c.start()
				k.must("RemoveContainer", c.remove())
			}
			if err == nil {
				k.Error("it is mounted")
			} else if message := status.Convert(err).Message(); !strings.Contains(message, sub) && !strings.Contains(message, "image_sub_path") {
				k.Errorf("the message %q does not name %s", message, sub)
			}
		})
	}
}

// TestImageVolumeOutlivesItsTag: the tag moves on while the image is mounted.
func TestImageVolumeOutlivesItsTag(t *testing.T) {
	k := newKubelet(t)
	p := k.pod()
	p.needImageVolumes()
	const name = "kubelet/moving-volume:1"
	k.publishNew(name, "of before")
	first := k.pull(suite.registry.ref(name))
	c := p.container(idle, mounted(&cri.Mount{ContainerPath: "/mnt", Image: &cri.ImageSpec{Image: first}, Readonly: true}))
	k.publishNew(name, "of now")
	k.pull(suite.registry.ref(name))
	if got := c.exec("cat", "/mnt/content"); got != "of before" {
		k.Errorf("it says %q", got)
	}
	k.must("remove the pod", k.removePod(context.Background(), p.id))
}
