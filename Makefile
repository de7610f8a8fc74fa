# The commands of everyday work; "make help" lists them. Those that need root ask sudo for it themselves.

export PATH := $(PATH):/usr/local/go/bin

ENGINE  ?= 20.10
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),unknown)
SUDO    := $(if $(filter-out 0,$(shell id -u)),sudo)

# The packages with tests that need root and an engine; they skip themselves where ENGINE_HOST is not set.
ENGINE_PACKAGES := ./internal/enginetest ./network ./adapter/... ./test/integration ./test/kubelet ./test/demo ./test/dockerfile
TOOLS           := bin/crictl bin/streamclient bin/logreader
SIZE_LIMIT_MB   := 22

# Static programs, that run on any distribution and on an empty image.
GO_BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false

.DEFAULT_GOAL := help
.PHONY: help run stop test check fix engine vm conformance bench size clean bin/dockershimd

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## run a sample pod on this machine's engine, installing what is missing
	@$(SUDO) test/demo/demo.sh run

stop: ## stop and remove all that "make run" started
	@$(SUDO) test/demo/demo.sh stop

test: ## everything: check, then the tests and critest on a real engine, on 20.10
	$(SUDO) test/engine/install.sh 20.10
	$(MAKE) check
	$(MAKE) engine ENGINE=20.10
	$(MAKE) conformance ENGINE=20.10

check: bin/staticcheck ## format, vet, lint and unit tests; no root, no engine, no network beyond modules
	@unformatted=$$(gofmt -l .); \
		[ -z "$$unformatted" ] || { echo "not gofmt-ed, run make fix: $$unformatted"; exit 1; }
	go vet ./...
	bin/staticcheck ./...
	go test -race ./...
	cd test/tools && go test ./streamclient ./logreader
	cd test/conformance && go vet ./... && go test ./...

fix: ## format, tidy go.mod, and rewrite the golden files and generated documents for review
	gofmt -w .
	go mod tidy
	UPDATE=1 go test ./...

# go test builds outside and runs each package's tests inside a rig of its own.
engine: bin/dockershimd $(TOOLS) ## the tests that need an engine, on ENGINE=20.10, 26.1 or 28.5
	$(SUDO) test/engine/install.sh $(ENGINE)
	go test -count=1 -p 1 -timeout 15m -exec "$(SUDO) $(CURDIR)/test/engine/with-engine.sh $(ENGINE) --" \
		$(foreach package,$(ENGINE_PACKAGES),$(if $(wildcard $(package:/...=)/*_test.go),$(package)))

vm: ## the tests that need systemd, cgroup v2 or AppArmor, in an emulated machine; TESTS=pattern names others
	test/vm/run.sh '$(or $(TESTS),TestSystemd|TestAppArmor|TestHugePages|TestUnified|TestListContainerStats|TestOOMScore)'

# It writes the results into docs/conformance.md.
conformance: bin/dockershimd bin/critest bin/ginkgo bin/imageprogram ## critest against ENGINE; FOCUS=pattern takes some of its specs
	$(SUDO) test/engine/install.sh $(ENGINE)
	$(SUDO) test/conformance/busybox.sh
	cd test/conformance && go test -count=1 -v -timeout 30m -run '^TestConformance$$' \
		-exec "$(SUDO) env 'FOCUS=$(FOCUS)' $(CURDIR)/test/conformance/rig.sh $(ENGINE) --" .

bench: bin/dockershimd $(TOOLS) ## the benchmarks; each of the costs on ENGINE is a ratio of two things in one run
	go test -run '^$$' -bench . -benchmem ./adapter ./logs
	$(SUDO) test/engine/install.sh $(ENGINE)
	go test -count=1 -v -timeout 15m -run '^TestCost' -exec "$(SUDO) env BENCH=1 $(CURDIR)/test/engine/with-engine.sh $(ENGINE) --" \
		./test/integration

size: bin/dockershimd ## the size of the daemon and the modules linked into it; fails above the limit
	@bytes=$$(stat -c %s $<); modules=$$(go version -m $< | grep -c '^	dep	'); \
		echo "$$bytes $$modules" | awk '{ printf "dockershimd: %.1f MB (limit $(SIZE_LIMIT_MB)), %d modules\n", $$1 / 1e6, $$2 }'; \
		[ $$bytes -le $(SIZE_LIMIT_MB)000000 ]

clean: ## remove what was built and the engines unpacked for tests
	$(SUDO) rm -rf bin .cache

# The go command knows best whether it is up to date.
bin/dockershimd:
	$(GO_BUILD) -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/dockershimd

bin/crictl: test/tools/go.mod
	cd test/tools && $(GO_BUILD) -o ../../$@ \
		-ldflags "-s -w -X sigs.k8s.io/cri-tools/pkg/version.Version=$$(go list -m -f '{{.Version}}' sigs.k8s.io/cri-tools)" \
		sigs.k8s.io/cri-tools/cmd/crictl

bin/streamclient: test/tools/go.mod $(wildcard test/tools/streamclient/*.go)
	cd test/tools && $(GO_BUILD) -ldflags '-s -w' -o ../../$@ ./streamclient

bin/logreader: test/tools/go.mod $(wildcard test/tools/logreader/*.go)
	cd test/tools && $(GO_BUILD) -ldflags '-s -w' -o ../../$@ ./logreader

bin/critest: test/conformance/go.mod
	cd test/conformance && CGO_ENABLED=0 go test -c -trimpath -o ../../$@ \
		-ldflags "-s -w -X sigs.k8s.io/cri-tools/pkg/version.Version=$$(go list -m -f '{{.Version}}' sigs.k8s.io/cri-tools)" \
		sigs.k8s.io/cri-tools/cmd/critest

bin/ginkgo: test/conformance/go.mod
	cd test/conformance && $(GO_BUILD) -ldflags '-s -w' -o ../../$@ github.com/onsi/ginkgo/v2/ginkgo

bin/imageprogram: test/conformance/go.mod $(wildcard test/conformance/imageprogram/*.go)
	cd test/conformance && $(GO_BUILD) -ldflags '-s -w' -o ../../$@ ./imageprogram

bin/staticcheck: test/tools/go.mod
	cd test/tools && $(GO_BUILD) -ldflags '-s -w' -o ../../$@ honnef.co/go/tools/cmd/staticcheck
