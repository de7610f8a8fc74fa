#!/usr/bin/env bash
# "make run" and "make stop": a sample pod of two containers, run through dockershimd on this machine's engine.
#
# Usage: demo.sh run|stop   (needs root; both may be repeated)
#
# run installs what is missing (Docker Engine, CNI plugins, iptables, busybox-static), starts an engine if none
# answers, builds and starts dockershimd on its default socket, runs the pod of test/sample and shows it.
# stop removes the pod, dockershimd, the images and the engine, as far as run brought them. An engine that was there
# before stays, with everything else on it.
#
# Left behind after stop: the packages that were installed.
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
sample=$repo/test/sample
state=/run/dockershimd-demo    # pids and logs of what run started
data=/var/lib/dockershimd-demo # what has to survive a reboot: dockershimd's state, notes for stop
docker_socket=/var/run/docker.sock
cri_socket=/run/cri-dockerd.sock
sample_image=localhost/dockershimd-sample:latest
pause_image=dockershimd.invalid/pause:1 # the one built into dockershimd, so that no registry is asked
bridge=dockershimd0                     # the built-in network's, where /etc/cni/net.d has no other
leases=/var/lib/cni/networks/dockershimd # its addresses in use
label=app=dockershimd-sample
cgroup=${RIG_CGROUP:-}/dockershimd-demo # for an engine that run starts; below the rig's in tests, which may overlap

run() {
	command -v curl >/dev/null || install curl # all looking needs it
	! served "$cri_socket" || alive dockershimd ||
		fail "something already serves $cri_socket: stop it first, if no kubelet on this machine needs it"
	mkdir -p "$state" "$data"
	engine_answers || note_inactive_services
	install_missing
	start_engine
	build
	remove_pod
	stop_process dockershimd
	note_what_exists
	start_dockershimd
	say "making the sample image"
	"$sample/image.sh" "$docker_socket"
	run_pod
	show
}

stop() {
	mkdir -p "$state" "$data" # a reboot empties /run, and the engine may have kept the pod
	remove_pod
	stop_process dockershimd
	remove_images
	remove_network
	stop_engine
	unmount_below "$state" "$data"
	rm -rf "$state" "$data"
	say "stopped; nothing is left behind"
}

# --- the machine ---

install_missing() {
	local missing=()
	engine_answers || command -v dockerd >/dev/null || missing+=(docker.io)
	[ -x /opt/cni/bin/bridge ] || [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
	command -v iptables >/dev/null || missing+=(iptables)
	command -v ip >/dev/null || missing+=(iproute2)
	dpkg-query -W -f '${db:Status-Status}' busybox-static 2>/dev/null | grep -qx installed || missing+=(busybox-static)
	[ ${#missing[@]} = 0 ] || install "${missing[@]}"
}

install() {
	say "installing $*"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# build runs as the user who said sudo: the module cache and the files in bin are theirs.
build() {
	local as=() make=(make -C "$repo" --no-print-directory bin/dockershimd bin/crictl)
	say "building dockershimd and crictl"
	if [ -n "${SUDO_USER:-}" ]; then
		as=(sudo -iu "$SUDO_USER" --)
		mkdir -p "$repo/bin"
		chown -R "$SUDO_USER" "$repo/bin"
	fi
	"${as[@]}" "${make[@]}" >"$state/build.log" 2>&1 || {
		tail -n 20 "$state/build.log" >&2
		fail "the build failed; is a Go installed that go.mod accepts?"
	}
}

# --- the engine ---

engine() {
	curl -fsS --unix-socket "$docker_socket" "${@:2}" "http://engine/$1"
}

engine_answers() {
	engine _ping --max-time 10 >/dev/null 2>&1
}

# note_inactive_services comes before a package is installed, because installing one may start them.
note_inactive_services() {
	local unit
	if [ -d /run/systemd/system ]; then
		for unit in docker.service docker.socket containerd.service; do
			systemctl is-active --quiet "$unit" || echo "$unit"
		done
	else
		echo docker
	fi >"$state/services"
}

start_engine() {
	engine_answers && return
	say "starting Docker Engine"
	if [ -d /run/systemd/system ]; then
		systemctl start docker
	else
		start_own_engine
	fi
	await 60 engine_answers || fail "no engine answers on $docker_socket; see journalctl -u docker, or $state/dockerd.log"
}

# start_own_engine serves machines without systemd. With its own folders it disturbs no containers of another time.
start_own_engine() {
	local folder
	for folder in /run/docker /run/containerd; do # made by every engine, wherever its other files are
		[ -e "$folder" ] || echo "$folder"
	done >"$state/engine-folders"
	echo '{}' >"$state/daemon.json"
	start_process dockerd --config-file "$state/daemon.json" --data-root "$data/docker" --exec-root "$state/docker" \
		--host "unix://$docker_socket" --pidfile "$state/docker.pid" \
		--cgroup-parent "$cgroup" --exec-opt native.cgroupdriver=cgroupfs \
		--bridge none --iptables=false --ip6tables=false --ip-forward=false
}

stop_engine() {
	if [ -e "$state/dockerd.pid" ]; then
		say "stopping the engine"
		stop_process dockerd
		find "/sys/fs/cgroup$cgroup" /sys/fs/cgroup/*"$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || true
		xargs -I{} find {} -depth -type d -empty -delete <"$state/engine-folders" 2>/dev/null || true
	elif [ -d /run/systemd/system ] && [ -s "$state/services" ]; then
		say "stopping the engine"
		xargs systemctl stop <"$state/services"
	elif [ -s "$state/services" ] && [ -e /etc/init.d/docker ]; then
		say "stopping the engine"
		service docker stop
	fi
}

# --- dockershimd ---

start_dockershimd() {
	say "starting dockershimd on unix://$cri_socket"
	start_process "$repo/bin/dockershimd" --container-runtime-endpoint="unix://$cri_socket" \
		--docker-endpoint="unix://$docker_socket" --cri-dockerd-root-directory="$data/state" \
		--cni-cache-dir="$data/cni-cache" --network-default=bridge --pod-infra-container-image="$pause_image"
	await 60 ready || {
		tail -n 20 "$state/dockershimd.log" >&2
		conditions >&2 || true
		fail "dockershimd is not ready; its log is $state/dockershimd.log, and make stop removes what was started"
	}
}

ready() {
	alive dockershimd || return 2
	[[ $(conditions 2>/dev/null) == *"RuntimeReady=true "*"NetworkReady=true "* ]]
}

conditions() {
	crictl info -o go-template --template \
		'{{range .status.conditions}}{{.type}}={{.status}} {{.reason}} {{.message}}{{"\n"}}{{end}}'
}

# crictl warns of a pod without a cgroup parent. Only a kubelet has cgroups for pods; the engine chooses for this one.
crictl() {
	"$repo/bin/crictl" --config /dev/null --runtime-endpoint "unix://$cri_socket" --image-endpoint "unix://$cri_socket" "$@" \
		2> >(grep -v 'cgroup_parent is not set' >&2)
}

# --- the pod ---

run_pod() {
	local pod container config
	say "running the sample pod"
	pod=$(crictl runp "$sample/pod.json")
	for config in web caller; do
		container=$(crictl create "$pod" "$sample/$config.json" "$sample/pod.json")
		crictl start "$container" >/dev/null
	done
}

show() {
	local pod address
	pod=$(crictl pods --quiet --label "$label")
	address=$(crictl inspectp -o go-template --template '{{.status.network.ip}}' "$pod")
	await 30 caller_was_answered || fail "the caller was not answered on localhost; see crictl logs"
	printf '\n$ crictl pods\n'
	crictl pods
	printf '\n$ crictl ps\n'
	crictl ps
	printf '\nThe pod has the address %s. Its web server says there:\n  ' "$address"
	curl -fsS --noproxy '*' --max-time 10 "http://$address/"
	printf 'The log of its caller, which asks over localhost, ends with:\n  '
	caller_log | tail -n 1
	printf '\nLook closer:  sudo %s/bin/crictl --runtime-endpoint unix://%s ps\n' "$repo" "$cri_socket"
	printf 'Stop it all:  sudo make stop\n'
}

caller_log() {
	crictl logs "$(crictl ps --quiet --name '^caller$' --label "$label")"
}

caller_was_answered() {
	caller_log 2>/dev/null | grep -q Hello
}

# remove_pod needs a running dockershimd, since only a CNI DEL gives back the pod's address and firewall rules.
remove_pod() {
	local pods containers
	engine_answers || return 0
	containers=$(engine "containers/json?all=1&filters=%7B%22label%22:%5B%22${label/=/%3D}%22%5D%7D")
	[ "$containers" != "[]" ] || return 0
	alive dockershimd || start_dockershimd
	say "removing the sample pod"
	pods=$(crictl pods --quiet --label "$label")
	# shellcheck disable=SC2086 # one id a word
	crictl rmp --force $pods >/dev/null
}

# --- what else the pod needed ---

# note_what_exists tells stop what not to remove.
note_what_exists() {
	[ ! -e "$data/noted" ] || return 0
	engine "images/$pause_image/json" >/dev/null 2>&1 && touch "$data/keep-pause-image"
	ip link show "$bridge" >/dev/null 2>&1 && touch "$data/keep-bridge"
	iptables -n -L CNI-FORWARD >/dev/null 2>&1 && touch "$data/keep-firewall"
	mountpoint -q /run/netns && touch "$data/keep-netns"
	cp /proc/sys/net/ipv4/ip_forward "$data/ip_forward"
	touch "$data/noted"
}

remove_images() {
	engine_answers && [ -e "$data/noted" ] || return 0
	engine "images/$sample_image" -X DELETE >/dev/null 2>&1 || true
	[ -e "$data/keep-pause-image" ] || engine "images/$pause_image" -X DELETE >/dev/null 2>&1 || true
}

remove_network() {
	[ -e "$data/noted" ] || return 0
	if [ ! -e "$data/keep-bridge" ]; then
		ip link delete "$bridge" 2>/dev/null || true
		rm -rf "$leases"
		rmdir -p "${leases%/*}" 2>/dev/null || true
	fi
	[ -e "$data/keep-firewall" ] || remove_firewall_chains
	[ -e "$data/keep-netns" ] || { umount /run/netns && rmdir /run/netns; } 2>/dev/null || true
	[ "$(<"$data/ip_forward")" = 1 ] || cp "$data/ip_forward" /proc/sys/net/ipv4/ip_forward
}

# remove_firewall_chains removes what the CNI firewall plugin leaves for its next pod.
remove_firewall_chains() {
	iptables -n -L CNI-FORWARD >/dev/null 2>&1 || return 0
	iptables -D FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
	iptables -F CNI-FORWARD
	iptables -X CNI-FORWARD
	iptables -X CNI-ADMIN
}

# --- processes ---

# start_process PROGRAM [ARGUMENT...] runs it apart from this terminal, with pid and log under $state.
start_process() {
	local name=${1##*/}
	setsid "$@" </dev/null >>"$state/$name.log" 2>&1 &
	echo $! >"$state/$name.pid"
	until alive "$name" || ! kill -0 $! 2>/dev/null; do sleep 0.02; done # until setsid has become the program
}

# alive NAME tells whether the process that start_process noted still runs, and is not another one with its pid.
alive() {
	[ -e "$state/$1.pid" ] && [ "$(cat "/proc/$(<"$state/$1.pid")/comm" 2>/dev/null)" = "$1" ]
}

stop_process() {
	local pid
	if alive "$1"; then
		pid=$(<"$state/$1.pid")
		kill "$pid"
		timeout 30 tail -s 0.1 --pid="$pid" -f /dev/null || kill -KILL "$pid"
	fi
	rm -f "$state/$1.pid"
}

# served SOCKET tells whether somebody listens there: 7 is curl's "could not connect".
served() {
	local code=0
	curl -s --max-time 2 --unix-socket "$1" http://adapter/ >/dev/null 2>&1 || code=$?
	[ "$code" != 7 ]
}

# await SECONDS COMMAND repeats it until it succeeds; exit code 2 says that it never will.
await() {
	local deadline=$((SECONDS + $1)) code
	while true; do
		code=0
		"${@:2}" || code=$?
		[ "$code" != 0 ] || return 0
		[ "$code" != 2 ] && [ $SECONDS -lt $deadline ] || return 1
		sleep 0.2
	done
}

unmount_below() {
	local folder
	for folder; do
		awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/self/mounts | sort -r | xargs -r umount
	done
}

say() {
	echo "* $*"
}

fail() {
	echo "demo.sh: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || fail "this needs root: sudo make ${1:-run}"
case ${1:-} in
run | stop) "$1" ;;
*) fail "usage: demo.sh run|stop" ;;
esac
