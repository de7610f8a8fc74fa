#!/usr/bin/env bash
# Unpacks Debian's busybox for the images of critest.
#
# Usage: busybox.sh   (needs root, as apt does)
#
# Not busybox-static, whose shell runs its own programs without looking for files: critest's own image looks, and a
# spec hides a file. The package is not installed, since it and busybox-static exclude each other.
#
# Left behind: .cache/conformance ("make clean" removes it).
set -euo pipefail

cache=$(cd "$(dirname "$0")/../.." && pwd)/.cache/conformance

[ ! -e "$cache/busybox" ] || exit 0
mkdir -p "$cache"
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
download() { apt-get -qq -o APT::Sandbox::User=root download busybox; }
download 2>/dev/null || { apt-get update -qq && download; } # the lists may be missing
dpkg -x ./*.deb .
install -m 755 "$(find . -path '*bin/busybox' -type f)" "$cache/busybox"
