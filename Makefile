# run    builds loam and takes a volume through its whole life on this machine (needs root)
# test   vet and all tests with the race detector; without root, those that need it are skipped by name
# test-lvm  the tests that need device-mapper, in a VM with a stock kernel; with VM=no on this machine (needs root)
# test-kubernetes  loam in a real Kubernetes of two nodes on this machine, which it builds first (needs root); FULL=yes: all of it
# cluster  leaves such a cluster up, with loam in it, to play with; cluster-down ends it
# bench  measures loam against the bare commands (needs root, fio and 40 GiB in /var/tmp), and LVM pools in a VM (bench-lvm)
# lint   the rules of .golangci.yml, and known vulnerabilities where their database can be reached
# image  the container images, without a registry: .cache/image/loam.tar and loam-controller.tar
# generate  the code of driver/inventory, from its .proto
# manifests  deploy/kubernetes/loam.yaml, from the chart
# build  bin/loam, a static binary

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
ARGS :=

.PHONY: run test test-lvm test-kubernetes cluster cluster-down image generate manifests bench lint build tools-%
.DEFAULT_GOAL := run

run: tools-run build
	@if [ "$$(id -u)" != 0 ]; then echo "make run needs root, for loop devices and mounts: sudo bin/loam try" >&2; exit 1; fi
	bin/loam try $(ARGS)

test: tools-test
	go vet ./...
	cd deploy/render && go vet ./... && cd ../image && go vet ./...
	{ go test -json -race -timeout 60m $(ARGS) ./...; cd deploy/render && go test -json ./...; cd ../image && go test -json ./...; } | go run ./sanity/summary

test-lvm: tools-test-lvm
	sanity/test-lvm.sh $(ARGS)

test-kubernetes: tools-kubernetes
	sanity/kubernetes/test $(ARGS)

cluster: tools-kubernetes
	sanity/kubernetes/try

cluster-down:
	sanity/kubernetes/cluster down

image: tools-build
	deploy/image/build .cache/image

manifests:
	cd deploy/render && go run .

bench: tools-bench
	go run ./sanity/bench $(ARGS); code=$$?; $(MAKE) --no-print-directory bench-lvm && exit $$code

bench-lvm: tools-bench-lvm
	go build -o .cache/vm/vm ./sanity/vm
	CGO_ENABLED=0 go build -o .cache/vm/bench ./sanity/bench
	.cache/vm/vm -disk 4G -disk 4G -timeout 45m -file "$$(command -v fio)" -- .cache/vm/bench -lvm

generate:
	go generate ./driver/inventory

lint: tools-lint
	go run $(GOLANGCI) run ./...
	cd deploy/render && go run $(GOLANGCI) run ./...
	cd deploy/image && go run $(GOLANGCI) run ./...
	@vulnerabilities=$$(go run $(GOVULNCHECK) ./... 2>&1); code=$$?; \
	if [ $$code = 1 ] && grep -q 'fetching vulnerabilities' <<<"$$vulnerabilities"; then \
		echo "govulncheck did not run: its database cannot be reached from here"; \
	else echo "$$vulnerabilities"; exit $$code; fi

build: tools-build
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.linkedVersion=$(VERSION)" -o bin/loam ./cmd/loam

tools-%:
	@sanity/install-tools.sh $*
