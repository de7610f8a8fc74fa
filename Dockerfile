# SPDX-License-Identifier: Apache-2.0
#
# docker build .                the release image: the static binary and nothing else
# docker build --target dev .   what hacking on it needs; run it with --privileged and the source on /src
#
# It keeps to what the classic builder of the oldest supported engine knows, so a node can build its own. That builder
# makes every stage above the wanted one, which is why dev comes after release: there, name the release too,
# docker build --target release .

# Any Debian image with Go and apt. Tests put an image of the machine's own Go in its place.
ARG GO_IMAGE=golang:1.26-bookworm

FROM ${GO_IMAGE} AS build
# Without a value, the module proxy is Go's default, or what the base image says.
ARG GOPROXY
ARG VERSION=unreleased
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" \
	-o /out/dockershimd ./cmd/dockershimd

FROM scratch AS release
ARG VERSION=unreleased
LABEL org.opencontainers.image.title="dockershimd" \
	org.opencontainers.image.description="Kubernetes CRI on Docker Engine" \
	org.opencontainers.image.source="https://github.com/dockershimd/dockershimd" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="${VERSION}"
# The path of the packages, so that units and manifests name the same one.
COPY --from=build /out/dockershimd /usr/bin/dockershimd
ENTRYPOINT ["/usr/bin/dockershimd"]

FROM ${GO_IMAGE} AS dev
ARG GOPROXY
# The engine and the plugins, and what test/engine/install.sh would install.
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		busybox-static ca-certificates containernetworking-plugins curl debian-archive-keyring docker.io gcc git \
		iproute2 iptables libc6-dev make patchelf && \
	rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY test/tools test/tools
RUN cd test/tools && GOBIN=/usr/local/bin go install tool && \
	go test -mod=mod -vet=off -c -o /usr/local/bin/critest sigs.k8s.io/cri-tools/cmd/critest

# What a build without a target makes.
FROM release
