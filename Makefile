# Every target first sets up what it needs and this machine lacks (scripts/setup.sh), which takes no time when nothing is missing.
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

setup := @scripts/setup.sh
node := node_modules/.bin/node
sources := $(shell find src -name '*.ts' ! -name '*.test.ts') scripts/build.ts package-lock.json
# The driver tests use the kernel; without root they are skipped.
as_root := $(if $(filter 0,$(shell id -u)),lab)
export KEEP

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/raven; installs what building needs, nothing else
	$(setup) build
	@$(MAKE) -s dist/.built

dist/.built: $(sources)
	@$(node) scripts/build.ts

demo: ## three regions come up, pods reach each other, a gateway dies (KEEP=1: leave it up)
	$(setup) lab build
	@$(MAKE) -s dist/.built
	@$(node) scripts/demo.ts

test: ## set up what is missing, run every test
	$(setup) lab e2e kernel build kube image
	@$(MAKE) -s dist/.built
	@$(node) scripts/test.ts

test-unit: ## checks of the sources, unit, property and driver tests
	$(setup) $(as_root) build
	@$(node) scripts/test.ts lint unit

test-lab: ## end-to-end tests in network namespaces
	$(setup) lab e2e build
	@$(MAKE) -s dist/.built
	@$(node) scripts/test.ts lab

test-kube: ## tests against a real kube-apiserver (built once, 10 to 20 minutes)
	$(setup) build kube
	@$(node) scripts/test.ts kube

test-lab-kube: ## end-to-end tests on a real Kubernetes API, kube-proxy, flannel and CoreDNS
	$(setup) lab e2e build kube
	@$(MAKE) -s dist/.built
	@$(node) scripts/test.ts lab-kube

test-image: ## the container image's content is made and run, without a container engine
	$(setup) build image
	@$(node) scripts/test.ts image

test-kernel: ## the lab in a virtual machine with the distribution's kernel
	$(setup) lab kernel build
	@$(MAKE) -s dist/.built
	@$(node) scripts/test.ts kernel

test-kernel-matrix: ## drivers x families x ways on two kernels, some 15 minutes; not part of make test
	$(setup) lab kernel kernels build
	@$(MAKE) -s dist/.built
	@$(node) scripts/test.ts kernel-matrix

test-kernel-failover: ## a gateway that is drained, and one that loses power, with tunnels in the kernel; not part of make test
	$(setup) lab kernel build
	@$(MAKE) -s dist/.built
	@$(node) scripts/test.ts kernel-failover

simulate: ## controller and agents through 10,000 random histories of faults (ARGS="--seed 7 -v": one of them)
	$(setup) build
	@$(node) test/simulation/run.ts $(ARGS)

bench: ## figures: throughput, plan and resync cost, memory, start
	$(setup) lab bench kernel build kube
	@$(MAKE) -s dist/.built
	@$(node) bench/bench.ts

chaos: ## faults under traffic, and what they cost; ARGS='--soak', ARGS=--list (docs/chaos.md)
	$(setup) lab e2e build $(if $(or $(findstring store kube,$(ARGS)),$(findstring store both,$(ARGS))),kube)
	@$(MAKE) -s dist/.built
	@$(node) chaos/chaos.ts $(ARGS)

lint: ## linter, format, types, dead code
	$(setup) build
	@$(node) scripts/test.ts lint

generate: ## write the files that follow from the sources: CRDs, reference pages
	$(setup) build
	@$(node) scripts/generate.ts

format: ## bring the sources into form
	$(setup) build
	@node_modules/.bin/oxfmt .

clean: ## remove what was built
	rm -rf dist coverage

.PHONY: help build demo test test-unit test-lab test-kube test-lab-kube test-image test-kernel test-kernel-matrix test-kernel-failover simulate bench chaos lint generate format clean
