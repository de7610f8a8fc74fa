#!/usr/bin/env bash
# Runs a command beside a Docker Engine of its own, then takes everything away again.
#
# Usage: with-engine.sh VERSION -- COMMAND [ARGUMENT...]   (needs root, and "install.sh VERSION" before)
#
# COMMAND finds in its environment:
#   ENGINE_HOST     the engine's address, unix://...
#   ENGINE_VERSION  VERSION
#   ENGINE_START    a script that starts the engine again after a test killed it; its arguments go to dockerd
#   RIG_DIR         a scratch folder; holds dockerd.pid, and every *.log in it outlives a failed COMMAND
#   RIG_CGROUP      a cgroup for this run alone, for tests that choose a pod's cgroup parent
#
# Engine, containers and COMMAND share new PID, mount and network namespaces, so the kernel ends every process, mount
# and link with the first process, however that one ends. /run and /var/lib are private copies. Runs may overlap.
#
# Left behind: nothing after success; after a failure the logs, in a folder whose name is printed.
# The exit code is COMMAND's.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

outside() {
	local version=$1 rig
	[ "$(id -u)" = 0 ] || fail "this needs root"
	export ENGINE_BIN=$here/../../.cache/engine/$version/bin
	[ -e "$ENGINE_BIN/../complete" ] || fail "no engine $version yet: run $here/install.sh $version"
	RIG_DIR=$(mktemp -d "${TMPDIR:-/var/tmp}/dockershim-rig.XXXXXX")
	export RIG_DIR RIG_CGROUP=/${RIG_DIR##*/}
	export ENGINE_VERSION=$version ENGINE_HOST=unix://$RIG_DIR/docker.sock ENGINE_START=$here/start.sh

	if grep -qs hugetlb /sys/fs/cgroup/unified/cgroup.subtree_control; then
		HUGETLB_WAS_ON=yes
	fi
	trap clean_up EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 131' QUIT
	trap 'exit 143' TERM
	# In the background, because bash runs a trap only between commands or while it waits. Death of this script
	# without a trap takes the rig along too: pdeathsig ends unshare, and kill-child its first process.
	setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount --mount-proc --propagation private --net -- \
		"$0" --inside "${@:2}" <&0 &
	rig=$!
	wait "$rig"
}

clean_up() {
	local status=$? rig=$! first kept
	trap '' HUP INT QUIT TERM
	if first=$(cat "/proc/$rig/task/$rig/children" 2>/dev/null) && [ -n "$first" ]; then
		disown "$rig" # or bash reports its death
		kill -KILL "$rig"
		timeout 10 tail -s 0.05 --pid="${first% }" -f /dev/null || true
	fi
	find "/sys/fs/cgroup$RIG_CGROUP" /sys/fs/cgroup/*"$RIG_CGROUP" -depth -type d -exec rmdir {} \; 2>/dev/null || true
	# The daemon enables it for limits of huge pages. The kernel refuses while another rig needs it.
	[ -n "${HUGETLB_WAS_ON:-}" ] || echo -hugetlb 2>/dev/null >/sys/fs/cgroup/unified/cgroup.subtree_control || true
	if [ "$status" != 0 ] && compgen -G "$RIG_DIR/*.log" >/dev/null; then
		kept=$(mktemp -d "${TMPDIR:-/var/tmp}/dockershim-rig-failed.XXXXXX")
		cp "$RIG_DIR"/*.log "$kept"
		echo "with-engine.sh: exit code $status, logs kept in $kept" >&2
	fi
	rm -rf "$RIG_DIR"
	exit "$status"
}

inside() {
	private_run
	# As systemd leaves a real node: what is mounted on the host appears in pods that ask for propagation.
	mount --make-rshared /
	mkdir "$RIG_DIR/var-lib" "$RIG_DIR/var-lib-work"
	mount -t overlay -o "lowerdir=/var/lib,upperdir=$RIG_DIR/var-lib,workdir=$RIG_DIR/var-lib-work" overlay /var/lib
	ip link set lo up
	"$ENGINE_START"
	"$@"
}

# private_run hides the machine's /run, but for the DNS configuration that some systems keep there.
private_run() {
	local resolv
	resolv=$(cat /etc/resolv.conf 2>/dev/null) || true
	mount --no-mtab -t tmpfs -o mode=755 rig /run # --no-mtab: or it writes to the machine's /run first
	[ -e /etc/resolv.conf ] || {
		mkdir -p "$(dirname "$(readlink -m /etc/resolv.conf)")"
		echo "$resolv" >"$(readlink -m /etc/resolv.conf)"
	}
}

fail() {
	echo "with-engine.sh: $*" >&2
	exit 1
}

if [ "${1:-}" = --inside ]; then
	shift
	inside "$@"
elif [ $# -ge 3 ] && [ "$2" = -- ]; then
	outside "$1" "${@:3}"
else
	fail "usage: with-engine.sh VERSION -- COMMAND [ARGUMENT...]"
fi
