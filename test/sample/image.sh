#!/usr/bin/env bash
# Makes the sample pod's image in an engine, out of this machine's static busybox: a shell, a web server and a
# client. No registry and no docker command is needed.
#
# Usage: image.sh [SOCKET]   (default: /var/run/docker.sock); an older sample image is replaced
#
# Left behind: the image localhost/dockershimd-sample:latest in that engine.
set -euo pipefail

socket=${1:-/var/run/docker.sock}
busybox=$(command -v busybox || true)
if [ -z "$busybox" ] || ! [[ $(LC_ALL=C ldd "$busybox" 2>&1) =~ 'not a dynamic'|'statically linked' ]]; then
	echo "image.sh: a statically linked busybox is needed: apt-get install busybox-static" >&2
	exit 1
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir "$root/bin" "$root/www"
install -m 755 "$busybox" "$root/bin/busybox"
for program in cat httpd sh sleep wget; do
	ln -s busybox "$root/bin/$program"
done
echo "Hello from a pod that dockershimd runs" >"$root/www/index.html"

engine() {
	curl -fsS --unix-socket "$socket" -o /dev/null "$@"
}
engine -X DELETE "http://engine/images/localhost/dockershimd-sample:latest" 2>/dev/null || true
tar -C "$root" --owner=0 --group=0 -c . | engine -T - -X POST -H 'Content-Type: application/x-tar' \
	"http://engine/images/create?fromSrc=-&repo=localhost/dockershimd-sample&tag=latest"
