# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
# The commands of this project.  The build itself is CMake's; these lines only say how it is called.
MAKEFLAGS += --no-print-directory
JOBS ?= $(shell nproc)
ORIGIN ?=
BENCH_ARGS ?=
A ?=

.DEFAULT_GOAL := help
.PHONY: help run test build deps deps-test deps-bench bench bench-scale bench-idle bench-size bench-beside bench-ab bench-lanes fuzz crash chaos format lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: ## install what is missing, build, and start objmapperd on 127.0.0.1:6081 (ORIGIN=host:port, or a demo site)
	@scripts/run.sh "$(ORIGIN)"

test: ## install what is missing, then build and run everything that checks us
	@scripts/test.sh

build: deps ## the release build: leaves build/bin/objmapperd
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS) --target objmapperd
	@mkdir -p build/bin && ln -sfn ../release/bin/objmapperd build/bin/objmapperd

bench: deps-bench build build/release/bin/limit build/release/bin/vcl_bench build/release/bin/codec_bench build/release/bin/mc_load ## CPU per request and per GiB beside nginx, varnishd, memcached and the bare loop; what VCL and codecs cost (BENCH_ARGS=--quick)
	@bench/run.py $(BENCH_ARGS)
	@bench/vcl.py $(BENCH_ARGS)
	@bench/esi.py
	@bench/mc.py $(BENCH_ARGS)
	@build/release/bin/codec_bench

bench-scale: deps-bench build ## CPU per request with 1, 2, 4 loops
	@bench/scale.py $(BENCH_ARGS)

bench-idle: deps-bench build ## memory of 10,000 idle connections and slow readers, and hits beside them
	@bench/idle.py $(BENCH_ARGS)

bench-size: deps-bench build build/release/bin/limit ## bytes of memory that an object takes beside its body and headers
	@bench/size.py $(BENCH_ARGS)

bench-beside: deps-bench build ## p99 of small hits beside large bodies, checks of bodies and an origin that hangs
	@bench/beside.py $(BENCH_ARGS)

bench-ab: deps-bench build ## CPU of small hits before and after (A=the daemon before)
	@bench/ab.py --a "$(A)" $(BENCH_ARGS)

bench-lanes: deps-bench build ## CPU per GiB by body size and lane; prints the thresholds it recommends
	@bench/lanes.py $(BENCH_ARGS)

fuzz: deps-test ## run every fuzz target for FUZZ_SECONDS (60) on its kept corpus
	@scripts/fuzz.sh

crash: build ## kill the worker under load again and again, check every byte served (CRASH_SECONDS=600)
	@tests/crash/crash.py --daemon build/bin/objmapperd --seconds $${CRASH_SECONDS:-600}

chaos: build ## VCL at random, loaded and asked again and again: nothing ends the worker (CHAOS_SECONDS=600)
	@tests/chaos/chaos.py --daemon build/bin/objmapperd --source . --seed $$(date +%s) --seconds $${CHAOS_SECONDS:-600}

format: deps-test ## put all C sources into the project's format
	@scripts/format.sh

lint: deps-test ## format check, clang-tidy, layering and house rules
	@scripts/lint.sh

clean: ## remove everything that was built
	@rm -rf build

deps:
	@scripts/install-deps.sh run

deps-test:
	@scripts/install-deps.sh run test

deps-bench:
	@scripts/install-deps.sh run bench

.PHONY: build/release/bin/limit build/release/bin/vcl_bench build/release/bin/codec_bench build/release/bin/mc_load
build/release/bin/limit build/release/bin/vcl_bench build/release/bin/codec_bench build/release/bin/mc_load: build
	@cmake --build --preset release -j $(JOBS) --target $(@F)
