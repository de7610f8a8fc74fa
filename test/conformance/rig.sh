#!/usr/bin/env bash
# Runs a command beside an engine of its own, for which the registries of critest's images are this machine.
#
# Usage: rig.sh VERSION -- COMMAND [ARGUMENT...]   (needs root, and "test/engine/install.sh VERSION" before)
#
# What COMMAND finds is with-engine.sh's, and besides a private /etc, where hosts has the registries' names and a
# registry's certificate may be put into docker/certs.d. System V IPC is private too, since critest leaves a segment.
#
# Left behind: nothing. The exit code is COMMAND's.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
registries=(registry.k8s.io k8s.gcr.io gcr.io)

if [ "${1:-}" != --inside ]; then
	exec unshare --ipc --mount --propagation private -- "$0" --inside "$@"
fi
shift

# The engine keeps what it reads of hosts for a while, so that is complete before it starts.
layer=$(mktemp -d)
mount --no-mtab -t tmpfs conformance "$layer"
mkdir "$layer/upper" "$layer/work"
mount --no-mtab -t overlay -o "lowerdir=/etc,upperdir=$layer/upper,workdir=$layer/work" conformance /etc
umount --lazy "$layer"
rmdir "$layer"
echo "127.0.0.1 ${registries[*]}" >>/etc/hosts
for registry in "${registries[@]}"; do mkdir -p "/etc/docker/certs.d/$registry"; done

exec "$here/../engine/with-engine.sh" "$@"
