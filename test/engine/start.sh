#!/usr/bin/env bash
# Starts the engine of with-engine.sh and returns when it answers. For with-engine.sh, and for tests that stopped
# or killed the engine and want it back.
#
# Usage: start.sh [DOCKERD ARGUMENT...], in the environment that with-engine.sh makes.
#
# RIG_IMAGE_STORE=containerd chooses the containerd image store, which engines have since 25.0; what the engine has
# in its other store is then out of sight. Otherwise it is overlay2's.
#
# Left behind: the engine; it ends with the rig.
set -euo pipefail

config='{}' store=(--storage-driver overlay2)
if [ "${RIG_IMAGE_STORE:-}" = containerd ]; then
	config='{"features": {"containerd-snapshotter": true}}' store=()
fi
echo "$config" >"$RIG_DIR/daemon.json" # or dockerd would read the machine's own
PATH=$ENGINE_BIN:/usr/sbin:/usr/bin:/sbin:/bin setsid dockerd \
	--config-file "$RIG_DIR/daemon.json" --data-root "$RIG_DIR/data" --exec-root "$RIG_DIR/exec" \
	--pidfile "$RIG_DIR/dockerd.pid" --host "$ENGINE_HOST" "${store[@]}" \
	--cgroup-parent "$RIG_CGROUP" --exec-opt native.cgroupdriver=cgroupfs \
	--bridge none --iptables=false --ip6tables=false --ip-forward=false "$@" \
	</dev/null >>"$RIG_DIR/dockerd.log" 2>&1 &
engine=$!

until curl -fs --max-time 5 --unix-socket "${ENGINE_HOST#unix://}" http://engine/_ping >/dev/null; do
	if ! kill -0 "$engine" 2>/dev/null || [ $SECONDS -gt 60 ]; then
		tail -n 20 "$RIG_DIR/dockerd.log" >&2
		echo "start.sh: engine $ENGINE_VERSION does not answer on $ENGINE_HOST" >&2
		exit 1
	fi
	sleep 0.1
done
