// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/errdefs"
	oci "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/dockershimd/dockershimd/translate"
)

// findUser finds out what the engine would not: the user in numbers, where the
// strict policy for groups needs that; the image's groups, which the engine adds
// only if no other primary group is given; and whether a name is known at all.
func (s *Server) findUser(ctx context.Context, c *translate.Container) error {
	wants := translate.UserWants(c.Config)
	if !wants.Exact && !wants.Groups && !wants.Name {
		return nil
	}
	spec := c.User()
	if spec == "" {
		inspect, err := s.engine.ImageInspect(ctx, c.ImageID)
		if err != nil {
			return fmt.Errorf("inspect image %s: %w", c.ImageID, err)
		}
		spec = cmp.Or(inspect.Config.User, "0")
	}
	var files userFiles
	if wants.Groups || !translate.IsExactUser(spec) {
		var err error
		if files, err = s.imageUsers(ctx, *c); err != nil {
			return err
		}
	}
	exact, groups, err := translate.ExactUser(spec, files.passwd, files.group)
	if err != nil {
		return err
	}
	c.ExactUser = ""
	if wants.Exact {
		c.ExactUser = exact
	}
	if wants.Groups {
		c.ImageGroups = groups
	}
	return nil
}

// userFiles are an image's /etc/passwd and /etc/group; "" is no such file.
type userFiles struct{ passwd, group string }

// imageUsers reads the files once for each image, which never changes. Only the
// image has them, into which a container that is never started lets us look.
func (s *Server) imageUsers(ctx context.Context, c translate.Container) (userFiles, error) {
	if files, known := s.images.userFiles(c.ImageID); known {
		return files, nil
	}
	files, err := s.readImageUsers(ctx, c)
	if err == nil {
		s.images.setUserFiles(c.ImageID, files)
	}
	return files, err
}

func (s *Server) readImageUsers(ctx context.Context, c translate.Container) (files userFiles, err error) {
	var u undo
	body := translate.ProbeBody(c)
	defer s.index.expect(body.Name)()
	id, err := s.create(ctx, body)
	if err != nil {
		return files, fmt.Errorf("create a container to look into its image: %w", err)
	}
	u.add("remove the container", func(ctx context.Context) error { return s.removeObject(ctx, id) })
	defer u.onError(ctx, &err)
	if files.passwd, err = s.containerFile(ctx, id, "/etc/passwd"); err != nil {
		return files, err
	}
	if files.group, err = s.containerFile(ctx, id, "/etc/group"); err != nil {
		return files, err
	}
	return files, s.removeObject(ctx, id)
}

// maxUserFile bounds a file of users, which an image may make of any size.
const maxUserFile = 8 << 20

// containerFile reads a file of a container, which need not run; "" where there
// is none. Links are followed as the engine tells where they lead, as far as the
// kernel would (path_resolution(7)).
func (s *Server) containerFile(ctx context.Context, id, path string) (string, error) {
	const maxLinks = 40
	for range maxLinks {
		text, target, err := s.containerFileOrLink(ctx, id, path)
		if err != nil || target == "" || target == path {
			return text, err
		}
		path = target
	}
	return "", fmt.Errorf("read %s of container %s: too many links: %w", path, id, errdefs.ErrInvalidArgument)
}

func (s *Server) containerFileOrLink(ctx context.Context, id, path string) (text, target string, err error) {
	archive, stat, err := s.engine.CopyFromContainer(ctx, id, path)
	if errdefs.IsNotFound(err) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("read %s of container %s: %w", path, id, err)
	}
	defer archive.Close()
	if stat.LinkTarget != "" {
		return "", stat.LinkTarget, nil
	}
	files := tar.NewReader(archive)
	header, err := files.Next()
	if err != nil {
		return "", "", fmt.Errorf("read %s of container %s: %w", path, id, err)
	}
	if header.Typeflag != tar.TypeReg {
		return "", "", nil // a directory, say
	}
	content, err := io.ReadAll(io.LimitReader(files, maxUserFile))
	if err != nil {
		return "", "", fmt.Errorf("read %s of container %s: %w", path, id, err)
	}
	return string(content), "", nil
}

// identify tells the index whom a container's first process was started as.
// Where that is not to be found, what the request said stays.
func (s *Server) identify(c *workload) {
	spec, err := bundleSpec(c.inspect.State.Pid, c.id())
	if err != nil {
		s.log.V(4).Info("user of a container not known", "container", c.id(), "reason", err.Error())
		return
	}
	var process struct{ Process struct{ User oci.User } }
	if err := json.Unmarshal(spec, &process); err == nil {
		s.index.identify(c.id(), translate.ProcessUser(process.Process.User))
	}
}

// bundleSpec is the OCI specification that a running container was made of. Its
// process's parent, containerd's shim, works in the bundle's folder, which is
// called by the container's id.
func bundleSpec(pid int, id string) (json.RawMessage, error) {
	shim, err := parentOf(pid)
	if err != nil {
		return nil, err
	}
	bundle, err := os.Readlink(procPath(shim, "cwd"))
	if err != nil {
		return nil, err
	}
	if filepath.Base(bundle) != id {
		return nil, fmt.Errorf("process %d works in %s, not in the bundle of %s", shim, bundle, id)
	}
	return os.ReadFile(filepath.Join(bundle, "config.json"))
}

func parentOf(pid int) (int, error) {
	status, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(statusField(string(status), "PPid"))
}
