# Every target creates the environment it needs; `make demo` and `make test` work right after a clone.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
# targets share one environment and one machine; running them in parallel only slows them down
.NOTPARALLEL:

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# without it PyTorch and OpenMP start one thread per core in every process
THREADS := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)

# Tests start hundreds of processes. Where Python writes no bytecode, as in many containers, each would
# compile everything that it imports: 21 s of CPU time instead of 9 for torch and transformers. A
# separate bytecode folder leaves the checkout clean.
BYTECODE := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/.venv/pycache

# folders with clips and a labels.csv, as filters/README.md describes them
LABELLED ?= ../shared/clips-dev ../shared/clips

.PHONY: help setup demo test test-slow test-browser test-gpu parity lint types layers bench bench-curation bench-gpu schema docs build clean

help: ## list of targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## create .venv with everything in it

# Reinstalled when the requirements change. uv resolves the pins in seconds where pip takes minutes; it
# comes from the package index like everything else.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	[ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## curate, caption, train and sample on three real clips
	$(BIN)/python -m wanctl.demo

test: $(STAMP) ## all tests except slow ones and those that need a GPU
	$(BYTECODE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses $(THREADS) --dist worksteal

test-slow: $(STAMP) ## the tests that take minutes
	$(BYTECODE) OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -q -m slow --timeout 3600

test-browser: $(STAMP) ## the report in headless Chromium (CHROMIUM names it)
	$(BIN)/python -m pytest -q -m browser

test-gpu: $(STAMP) ## the tests that need a CUDA device
	$(BIN)/python -m pytest -q -m gpu tests/gpu

# Another environment: the trainers pin versions of torch, datasets and numpy of their own. Those that are
# not on the package index are read from checkouts; docs/exports.md says which commits.
PARITY_STAMP := .venv-parity/.installed

$(PARITY_STAMP): $(STAMP) tests/parity/requirements.txt
	[ -x .venv-parity/bin/python ] || $(BIN)/uv venv --quiet --python 3.11 .venv-parity
	VIRTUAL_ENV=.venv-parity $(BIN)/uv pip install --quiet --no-deps -r tests/parity/requirements.txt
	@touch $@

parity: $(PARITY_STAMP) ## exports as other trainers load them; PARITY_SOURCES=DIR: checkouts of some
	PARITY_SOURCES='$(PARITY_SOURCES)' $(BIN)/python -m pytest -q -m parity tests/parity

lint: $(STAMP) ## style and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell wanctl filters recipes tests docs *.md

types: $(STAMP) ## pyright
	$(BIN)/pyright

layers: $(STAMP) ## import contracts
	$(BIN)/lint-imports

bench: $(STAMP) ## speed and memory against diffusers, into bench.json
	$(BIN)/python tests/bench/run.py

bench-curation: $(STAMP) ## filters against labelled clips (LABELLED names folders), into runs/
	$(BIN)/wanctl filters bench $(LABELLED:%=--set clips=%) --out runs/bench-curation

bench-gpu: $(STAMP) ## the same on one CUDA GPU at the published sizes, into bench-gpu.json
	$(BIN)/python tests/bench/gpu.py

schema: $(STAMP) ## recipes/schema.json, for completion in editors
	$(BIN)/wanctl recipe schema > recipes/schema.json

docs: $(STAMP) ## docs/architecture.svg and docs/checkpoints.md, from the packages and the registry
	$(BIN)/python docs/draw_architecture.py
	$(BIN)/python docs/write_checkpoints.py

build: $(STAMP) ## sdist and wheel, with a smoke test of the wheel outside the checkout
	rm -rf dist
	$(BIN)/python -m build --installer uv --outdir dist .
	$(BIN)/python tests/wheel.py dist/*.whl

clean: ## remove what the targets created, except runs/
	rm -rf .venv .venv-parity dist build bench.json bench-gpu.json .ruff_cache .pytest_cache .import_linter_cache
