// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The suite's images, name:tag.
const (
	busybox     = "kubelet/busybox:1"
	userImage   = "kubelet/user:1"   // with a user and a stop signal
	volumeImage = "kubelet/volume:1" // with folders, to be mounted
)

// What tests look for in them.
const (
	appUser    = "app"     // its ids are 1000, and it is in the group 50000 as well
	stopSignal = "SIGUSR1" // of userImage
)

var applets = []string{
	"basename", "cat", "chmod", "cut", "date", "dd", "echo", "env", "fallocate", "false", "grep", "head", "hostname", "httpd", "id",
	"ip", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "nc", "nproc", "ps", "pwd", "readlink", "rm", "seq", "sh", "sleep",
	"sort", "stat", "sync", "tail", "tee", "test", "touch", "tr", "true", "tty", "umount", "wc", "wget", "xargs",
}

// publishAll puts the suite's images into its registry.
func (r *registry) publishAll() error {
	files, err := busyboxFiles()
	if err != nil {
		return err
	}
	volume, err := tarOf(
		file("top", "at the top"),
		file("models/small/weights", "light"),
		file("models/large/weights", "heavy"),
		symlink("out", "/etc"),
	)
	if err != nil {
		return err
	}
	path := []string{"PATH=/bin"}
	_, plain := r.publish(busybox, v1.Config{Env: path}, files)
	_, user := r.publish(userImage, v1.Config{Env: path, User: appUser, StopSignal: stopSignal}, files)
	_, volumes := r.publish(volumeImage, v1.Config{}, volume)
	return errors.Join(plain, user, volumes)
}

func busyboxFiles() ([]byte, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, errors.Join(err, errors.New("install busybox-static, or let IMAGE name an image that the runtime has"))
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	entries := []entry{
		file("bin/busybox", string(program)),
		file("etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"),
		file("etc/group", "root:x:0:\napp:x:1000:\nextra:x:50000:app\n"),
		{tar.Header{Typeflag: tar.TypeDir, Name: "tmp", Mode: 0o1777}, ""},
	}
	for _, name := range applets {
		entries = append(entries, symlink("bin/"+name, "busybox"))
	}
	return tarOf(entries...)
}

// entry is a file of a layer.
type entry struct {
	header  tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}, content}
}

func symlink(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}, ""}
}

func tarOf(entries ...entry) ([]byte, error) {
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	var errs []error
	for _, e := range entries {
		errs = append(errs, w.WriteHeader(&e.header))
		_, err := w.Write([]byte(e.content))
		errs = append(errs, err)
	}
	return files.Bytes(), errors.Join(append(errs, w.Close())...)
}
