#!/usr/bin/env bash
# Runs integration tests in a virtual machine, for what many a machine lacks: systemd as cgroup driver, cgroup
# version 2, AppArmor, all capabilities.
#
# Usage: run.sh TESTS [TEST FLAG...]   (needs Go, and root the first time; TESTS is as for go test -run)
#
# Example: run.sh 'TestSystemd|TestAppArmor' -test.failfast
#
# The machine is emulated, without KVM, and 20 to 30 times slower than this one: it takes a minute to boot, and ten
# seconds for a pod with a container. PATIENCE (20x) multiplies how long tests wait. VM_TIMEOUT (30m) ends the machine
# whatever happens; -test.timeout (25m), the tests. The machine has no network.
#
# Left behind: bin and .cache/vm; after a failure the logs, in a folder whose name is printed.
# The exit code is the tests'.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
cache=$repo/.cache/vm
emulator=$cache/emulator/root
programs=(bin/dockershimd bin/crictl bin/streamclient bin/logreader)

main() {
	[ $# -ge 1 ] || fail "usage: run.sh TESTS [TEST FLAG...]"
	"$here/image.sh"
	dir=$(mktemp -d "${TMPDIR:-/var/tmp}/dockershim-vm.XXXXXX")
	trap clean_up EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 131' QUIT
	trap 'exit 143' TERM
	pack_share "$@"
	truncate -s 64M "$dir/results"
	# In the background, because bash runs a trap only between commands or while it waits.
	boot </dev/null &
	vm=$!
	wait "$vm" || echo "run.sh: the machine ended with code $?" >&2
	mkdir "$dir/logs"
	tar -xf "$dir/results" -C "$dir/logs" 2>/dev/null || true
	[ -e "$dir/logs/status" ] || fail "the machine ended before the tests: $(tail -n 20 "$dir/console.log")"
	return "$(cat "$dir/logs/status")"
}

# pack_share makes a tar that looks to the tests like this repository.
pack_share() {
	local share=$dir/share
	make -s -C "$repo" "${programs[@]}"
	mkdir -p "$share/test/integration" "$share/test/vm"
	(cd "$repo" && CGO_ENABLED=0 go test -c -trimpath -ldflags '-s -w' -o "$share/test/integration/" ./test/integration)
	cp "$here/guest.sh" "$share/test/vm/"
	echo "${PATIENCE:-20x}" >"$share/test/vm/patience"
	printf '%s\n' "-test.run=$1" "${@:2}" >"$share/test/vm/arguments"
	tar -cf "$dir/share.tar" -C "$share" . -C "$repo" "${programs[@]}"
	rm -rf "$share"
}

# boot starts the machine on a copy on write of its disk, and with the share and a place for results as further ones.
# It does not outlive this script, nor a panic.
boot() {
	local libraries=$emulator/usr/lib/x86_64-linux-gnu
	export TMPDIR=$dir QEMU_MODULE_DIR=$libraries/qemu
	exec setpriv --pdeathsig TERM timeout -k 10 "${VM_TIMEOUT:-30m}" nice -n 10 \
		"$emulator/usr/lib64/ld-linux-x86-64.so.2" --library-path "$libraries" "$emulator/usr/bin/qemu-system-x86_64" \
		-L "$emulator/usr/share/qemu" -L "$emulator/usr/share/seabios" \
		-nodefaults -no-user-config -no-reboot -display none -nic none \
		-accel tcg,thread=multi -cpu max -smp 2 -m 3G \
		-kernel "$cache/kernel" -initrd "$cache/initrd" -append "root=/dev/vda rw console=ttyS0 panic=1 mitigations=off quiet" \
		-drive "file=$cache/disk,format=raw,if=none,id=root,snapshot=on,cache=unsafe" -device virtio-blk-pci,drive=root,serial=root \
		-drive "file=$dir/share.tar,format=raw,if=none,id=share,readonly=on" -device virtio-blk-pci,drive=share,serial=share \
		-drive "file=$dir/results,format=raw,if=none,id=results" -device virtio-blk-pci,drive=results,serial=results \
		-object rng-random,id=random,filename=/dev/urandom -device virtio-rng-pci,rng=random \
		-serial "file:$dir/console.log" -chardev stdio,id=output,signal=off -serial chardev:output
}

clean_up() {
	local status=$? kept
	trap '' HUP INT QUIT TERM
	if [ -n "${vm:-}" ] && kill "$vm" 2>/dev/null; then wait "$vm" || true; fi
	if [ "$status" != 0 ] && [ -e "$dir/console.log" ]; then
		kept=$(mktemp -d "${TMPDIR:-/var/tmp}/dockershim-vm-failed.XXXXXX")
		cp "$dir/console.log" "$dir"/logs/*.log "$kept" 2>/dev/null || true
		echo "run.sh: exit code $status, logs kept in $kept" >&2
	fi
	rm -rf "$dir"
	exit "$status"
}

fail() {
	echo "run.sh: $*" >&2
	exit 1
}

main "$@"
