#!/usr/bin/env bash
# Builds the virtual machine of run.sh: Debian 13 with systemd, cgroup version 2, AppArmor and Docker Engine 26.1.
#
# Usage: image.sh   (needs root, on Debian or Ubuntu; a few minutes the first time, nothing after)
#
# Debian 13's emulator is unpacked and not installed: that of Debian 12 crashes such a guest. DEBIAN_MIRROR names a
# Debian mirror where apt's own sources have none, as on Ubuntu.
#
# Left behind: the packages listed below, if they were missing, and .cache/vm, 1 GB ("make clean" removes it).
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
cache=$repo/.cache/vm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
suite=trixie

packages=(debian-archive-keyring debootstrap e2fsprogs)
guest_packages=(apparmor busybox-static containerd containernetworking-plugins dbus docker.io iproute2 iptables
	linux-image-cloud-amd64 runc systemd-sysv udev)

main() {
	[ ! "$cache/complete" -nt "$0" ] || return 0
	[ "$(id -u)" = 0 ] || fail "this needs root: sudo $0"
	install_packages
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
	[ ! "$cache/complete" -nt "$0" ] || return 0
	[ -e "$cache/emulator/complete" ] || unpack_emulator
	build_image
	touch "$cache/complete"
}

install_packages() {
	local missing=() package
	for package in "${packages[@]}"; do
		dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	echo "installing ${missing[*]}"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# unpack_emulator makes cache/emulator/root, with all that the emulator needs in an otherwise empty system.
unpack_emulator() {
	local dir=$cache/emulator apt package
	echo "unpacking the emulator of Debian $suite"
	rm -rf "$dir"
	mkdir -p "$dir/apt/lists/partial" "$dir/apt/archives/partial" "$dir/root"
	echo "deb [signed-by=$keyring] $(mirror) $suite main" >"$dir/apt/sources.list"
	: >"$dir/apt/status"
	apt=(apt-get -qq -o Dir::Etc::SourceList="$dir/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists="$dir/apt/lists"
		-o Dir::State::Status="$dir/apt/status" -o Dir::Cache="$dir/apt" -o APT::Sandbox::User=root)
	"${apt[@]}" update
	"${apt[@]}" install --yes --no-install-recommends --download-only qemu-system-x86 >/dev/null
	for package in "$dir"/apt/archives/*.deb; do dpkg -x "$package" "$dir/root"; done
	rm -rf "$dir/apt"
	touch "$dir/complete"
}

# build_image makes cache/disk, a file system, and cache/kernel and cache/initrd, which boot it.
build_image() {
	local root=$cache/root
	echo "building a machine of Debian $suite"
	rm -rf "$root" "$cache/disk"
	# In namespaces of its own: mounts that it makes, and daemons that a package starts, end with it.
	unshare --mount --pid --fork --kill-child --mount-proc debootstrap --variant=minbase --keyring="$keyring" \
		--include="$(IFS=, && echo "${guest_packages[*]}")" "$suite" "$root" "$(mirror)" >"$cache/debootstrap.log" 2>&1 ||
		fail "debootstrap: $(tail -n 20 "$cache/debootstrap.log")"
	configure "$root"
	cp -L "$root/vmlinuz" "$cache/kernel"
	cp -L "$root/initrd.img" "$cache/initrd"
	rm -r "${root:?}/boot" "$root/var/cache/apt" "$root/var/lib/apt/lists"
	truncate -s 6G "$cache/disk"
	mkfs.ext4 -q -F -d "$root" "$cache/disk"
	rm -rf "$root"
}

# configure has the machine run guest.sh of the share when Docker is up, and power off after that.
configure() {
	local unit
	echo vm >"$1/etc/hostname"
	echo 'nameserver 192.0.2.53' >"$1/etc/resolv.conf" # not the builder's
	mkdir -p "$1/etc/docker"
	echo '{"exec-root": "/srv/rig/exec"}' >"$1/etc/docker/daemon.json" # which is where tests expect it; else as installed
	cat >"$1/etc/systemd/system/tests.service" <<'UNIT'
[Unit]
Description=Tests
Wants=docker.service
After=docker.service multi-user.target
SuccessAction=poweroff-immediate
FailureAction=poweroff-immediate

[Service]
Type=oneshot
ExecStartPre=mkdir -p /srv/repo
ExecStartPre=tar -xf /dev/disk/by-id/virtio-share -C /srv/repo
ExecStart=/srv/repo/test/vm/guest.sh
StandardOutput=file:/dev/ttyS1
StandardError=inherit
TimeoutStartSec=infinity
UNIT
	mkdir -p "$1/etc/systemd/system/graphical.target.wants"
	ln -s ../tests.service "$1/etc/systemd/system/graphical.target.wants/"
	# Nobody logs in, there is no network, and nothing is to happen at a certain time.
	for unit in getty.target apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
		ln -s /dev/null "$1/etc/systemd/system/$unit"
	done
}

# mirror prints where the machine's own apt gets Debian from.
mirror() {
	local uri
	# shellcheck disable=SC2016 # apt fills in the format, not the shell
	uri=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' | head -n 1)}
	[ -n "$uri" ] || fail "apt knows no Debian mirror: run apt-get update, or set DEBIAN_MIRROR"
	echo "$uri"
}

fail() {
	echo "image.sh: $*" >&2
	exit 1
}

main "$@"
