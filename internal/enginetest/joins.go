// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"os"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// joined is for a container that shares the network namespace of the sandbox.
func joined(sandbox string) *container.HostConfig {
	return &container.HostConfig{NetworkMode: container.NetworkMode("container:" + sandbox)}
}

// A container that joins a sandbox's network has the sandbox's resolv.conf. What
// is written into that file in place is seen by the containers there are and by
// those to come.
func joinNetworkFiles(b *bench) {
	sandbox := b.running(alone(), "sandbox", idle...)
	path := b.inspect(sandbox).ResolvConfPath
	since := timestamp()
	early := b.running(joined(sandbox), "early", finds("search early", "/etc/resolv.conf")...)
	b.equal("search before the write", b.exitCode(early, since), 1)

	b.must("write", os.WriteFile(path, []byte("nameserver 192.0.2.53\nsearch late\n"), 0o644))
	since = timestamp()
	late := b.running(joined(sandbox), "late", finds("search late", "/etc/resolv.conf")...)
	b.equal("search after the write", b.exitCode(late, since), 0)

	c := b.inspect(late)
	b.equal("path", c.ResolvConfPath, path)
	b.equal("hostname file", c.HostnamePath, b.inspect(sandbox).HostnamePath)
	b.equal("network mode", string(c.HostConfig.NetworkMode), "container:"+sandbox)
	if c.LogPath == "" || c.LogPath == b.inspect(sandbox).LogPath {
		b.Errorf("log at %q, want one of its own", c.LogPath)
	}
}

// The namespaces of a sandbox can be shared while it runs; for IPC it has to be
// shareable, else the start is an internal error, or invalid since 26.
func joinAll(b *bench) {
	shareable := alone()
	shareable.IpcMode = container.IPCModeShareable
	sandbox := b.running(shareable, "sandbox", idle...)
	host := joined(sandbox)
	host.IpcMode = container.IpcMode("container:" + sandbox)
	host.PidMode = container.PidMode("container:" + sandbox)
	id := b.running(host, "joined", idle...)
	b.equal("status", b.inspect(id).State.Status, "running")

	private := b.running(alone(), "private", idle...)
	host = joined(private)
	host.IpcMode = container.IpcMode("container:" + private)
	id = b.create(b.config(idle...), host, b.name("unshareable"))
	b.wantKind("join IPC that is private", b.ContainerStart(b.Context(), id, container.StartOptions{}), internal, invalid)
}

// A sandbox that is not there is noticed at creation for IPC and PID, as an
// invalid argument and so unlike a missing image. For the network it is noticed
// at start only, where 20.10 and 26.1 say not found: of a start, that does not
// mean that the container itself is gone.
func joinMissing(b *bench) {
	gone := strings.Repeat("1", 64)
	ipc, pid := alone(), alone()
	ipc.IpcMode = container.IpcMode("container:" + gone)
	pid.PidMode = container.PidMode("container:" + gone)
	for what, host := range map[string]*container.HostConfig{"IPC": ipc, "PID": pid} {
		_, err := b.ContainerCreate(b.Context(), b.config(idle...), host, nil, nil, b.name("missing"))
		b.wantKind("create with missing "+what, err, invalid)
	}

	id := b.create(b.config(idle...), joined(gone), b.name("missing"))
	b.wantKind("start", b.ContainerStart(b.Context(), id, container.StartOptions{}), notFound, internal)
	b.notStarted(id)
}

// A sandbox that does not run cannot be joined, but the container can be created.
func joinStopped(b *bench) {
	sandbox := b.create(b.config(idle...), alone(), b.name("sandbox"))
	ipc, pid := alone(), alone()
	ipc.IpcMode = container.IpcMode("container:" + sandbox)
	pid.PidMode = container.PidMode("container:" + sandbox)
	for what, host := range map[string]*container.HostConfig{"network": joined(sandbox), "ipc": ipc, "pid": pid} {
		id := b.create(b.config(idle...), host, b.name(what))
		b.wantKind("start with stopped "+what, b.ContainerStart(b.Context(), id, container.StartOptions{}), conflict, internal)
		b.notStarted(id)
	}
}

// notStarted checks for the state after a start that failed early.
func (b *bench) notStarted(id string) {
	b.Helper()
	c := b.inspect(id)
	b.equal("status", c.State.Status, "created")
	b.equal("exit code", c.State.ExitCode, 128)
	if c.State.Error == "" {
		b.Error("no error in the state of a container that could not start")
	}
}
