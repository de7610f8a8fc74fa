#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds pause.c for every architecture and records the compilers that did it.
# usage: build.sh [folder]   the folder to write to; this one by default
#
# Debian: apt-get install gcc gcc-aarch64-linux-gnu
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}

# The program must not depend on where or when it is built: no debug
# information, compiler name, build id or unwind tables. General registers
# only, because nothing has aligned the stack when _start is entered. Code and
# headers share one read-only segment, without which the file would be padded
# to whole pages.
build() {
	compiler=$1 architecture=$2
	"$compiler" -std=c11 -Wall -Wextra -Werror -Os \
		-ffreestanding -mgeneral-regs-only -fno-ident -fno-stack-protector \
		-fno-unwind-tables -fno-asynchronous-unwind-tables -fno-pie \
		-nostdlib -static -no-pie -s \
		-Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,norelro -Wl,-z,noexecstack \
		-o "$out/pause-$architecture" "$here/pause.c"
	printf '%s: %s; %s\n' "$architecture" \
		"$("$compiler" --version | head -n 1)" \
		"$("$("$compiler" -print-prog-name=ld)" --version | head -n 1)"
}

{
	build "${CC_AMD64:-x86_64-linux-gnu-gcc}" amd64
	build "${CC_ARM64:-aarch64-linux-gnu-gcc}" arm64
} >"$out/compilers.txt"
