#!/usr/bin/env bash
# Installs what the tests need on Debian or Ubuntu, and unpacks a Docker Engine for them.
#
# Usage: install.sh [20.10|26.1|28.5]...   (default: 20.10; needs root)
#
# The engine is Debian's package of that version, unpacked under .cache/engine and never installed: nothing
# is started, and an engine that the machine already has is not touched. DEBIAN_MIRROR names a Debian
# mirror where apt's own sources have none, as on Ubuntu.
#
# Left behind: the packages listed below, if they were missing, and .cache/engine ("make clean" removes it).
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
cache=$repo/.cache/engine
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# gcc and libc6-dev are for the race detector.
packages=(busybox-static ca-certificates containernetworking-plugins curl debian-archive-keyring gcc iproute2
	iptables libc6-dev)

declare -A suites=([20.10]=bookworm [26.1]=trixie [28.5]=sid)

main() {
	[ "$(id -u)" = 0 ] || fail "this needs root: sudo $0 $*"
	local version
	for version in "${@:-20.10}"; do
		[ -n "${suites[$version]:-}" ] || fail "no engine $version: there are ${!suites[*]}"
	done
	install_packages
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
	for version in "${@:-20.10}"; do
		[ -e "$cache/$version/complete" ] || unpack_engine "$version" "${suites[$version]}"
	done
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

# unpack_engine VERSION SUITE makes cache/VERSION/bin, the engine's programs, and lib, what they are linked against.
unpack_engine() {
	local version=$1 dir=$cache/$1 program found
	[ -d "$cache/patchelf/root" ] || unpack patchelf bookworm patchelf
	echo "unpacking Docker Engine $version from Debian $2"
	unpack "$version" "$2" docker.io
	mkdir "$dir/bin"
	# Newer engines refuse to start where docker-proxy is missing, which they use by default and no test does; 20.10 has
	# an older shim as well, which it offers as a runtime.
	for program in dockerd containerd containerd-shim containerd-shim-runc-v2 runc docker-init docker-proxy; do
		found=$(find "$dir/root" -regex ".*/\(bin\|sbin\|libexec/docker\)/$program" -print -quit)
		[ -n "$found" ] || [ "$program" != containerd-shim ] || continue
		cp -L "$found" "$dir/bin/"
		bind_to_libraries "$dir/bin/$program" "$dir"
	done
	find "$dir/root" ! -type d ! -name '*.so*' -delete
	"$dir/bin/dockerd" --version | grep -q "version $version" ||
		fail "Debian $2 now has another engine than $version: $("$dir/bin/dockerd" --version)"
	touch "$dir/complete"
}

# unpack NAME SUITE PACKAGE unpacks PACKAGE into cache/NAME/root, with all that it needs in an otherwise empty system.
unpack() {
	local dir=$cache/$1 apt package
	rm -rf "$dir"
	mkdir -p "$dir/apt/lists/partial" "$dir/apt/archives/partial" "$dir/root"
	echo "deb [signed-by=$keyring] $(mirror) $2 main" >"$dir/apt/sources.list"
	: >"$dir/apt/status"
	apt=(apt-get -qq -o Dir::Etc::SourceList="$dir/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists="$dir/apt/lists"
		-o Dir::State::Status="$dir/apt/status" -o Dir::Cache="$dir/apt" -o APT::Sandbox::User=root)
	"${apt[@]}" update
	"${apt[@]}" install --yes --no-install-recommends --download-only "$3" >/dev/null
	for package in "$dir"/apt/archives/*.deb; do dpkg -x "$package" "$dir/root"; done
	rm -rf "$dir/apt"
}

# bind_to_libraries PROGRAM DIR lets PROGRAM use the loader and the C library below DIR, since the machine's own may be
# older. It takes Debian 12's patchelf, whatever the machine has: 0.18, which Debian 13 has, breaks Go programs.
bind_to_libraries() {
	local tool=$cache/patchelf
	patchelf() { "$(loader "$tool")" --library-path "$(libraries "$tool")" "$tool/root/usr/bin/patchelf" "$@"; }
	if patchelf --print-interpreter "$1" >/dev/null 2>&1; then # not a static one
		patchelf --set-interpreter "$(loader "$2")" --force-rpath --set-rpath "$(libraries "$2")" "$1"
	fi
}

loader() {
	find "$1/root" -name 'ld-linux*.so.?' -print -quit
}

libraries() {
	find "$1/root" -path '*lib/*-linux-gnu' -prune -print | paste -sd:
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
	echo "install.sh: $*" >&2
	exit 1
}

main "$@"
