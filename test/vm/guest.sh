#!/usr/bin/env bash
# Runs the tests in the virtual machine of run.sh, beside its own Docker, in an environment like with-engine.sh's.
#
# Usage: guest.sh, by the machine's tests.service
#
# Left behind: the tests' exit code and all logs, in a tar on the drive for results.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
PATIENCE=$(cat "$here/patience")
export PATIENCE RIG_DIR=/srv/rig RIG_CGROUP=/rig.slice
export ENGINE_HOST=unix:///run/docker.sock ENGINE_START=$RIG_DIR/start.sh
ENGINE_VERSION=$(dockerd --version | sed 's/.*version \([0-9]*\.[0-9]*\).*/\1/')
export ENGINE_VERSION HOME=/root

stty raw <&1 # a line ends as it was written
ln -sf /run/docker.pid "$RIG_DIR/dockerd.pid"
cat >"$ENGINE_START" <<'START'
#!/bin/sh -e
# Starts the engine again; the arguments go to dockerd.
echo "DOCKER_OPTS='$*'" >/etc/default/docker
systemctl restart docker.service
START
chmod +x "$ENGINE_START"

echo "booted in $(cut -d' ' -f1 /proc/uptime) s: Linux $(uname -r), $(systemctl --version | head -n 1)"
dockerd --version
containerd --version
runc --version | head -n 1
apparmor_parser --version | head -n 1
echo "controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"

cd "$here/../integration" || exit
mapfile -t arguments <"$here/arguments"
./integration.test -test.v -test.timeout=25m "${arguments[@]}"
echo $? >"$RIG_DIR/status"
echo "ended $(cut -d' ' -f1 /proc/uptime) s after the boot"

journalctl --no-pager --boot >"$RIG_DIR/journal.log"
cd "$RIG_DIR" && tar -cf /dev/disk/by-id/virtio-results status -- *.log
sync
