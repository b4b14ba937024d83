# Everything Everloop's developers and first users need. `make demo` and `make test` do all the set-up themselves,
# into .venv in this folder; nothing else on the machine is touched.

.DEFAULT_GOAL := help
SHELL := /bin/sh

# the first Python of 3.11 or newer; override with: make PYTHON=/path/to/python
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)
BIN := .venv/bin
UV := $(BIN)/uv
SOURCES := src tests benchmarks scripts examples

.PHONY: help setup demo test lint format docs bench soak lock clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

.venv/.uv: locks/uv.txt
	@test -n "$(PYTHON)" || { echo "Everloop needs Python 3.11 or newer: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "setting up .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.txt
	@touch $@

.venv/.run: .venv/.uv locks/run.txt pyproject.toml
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r locks/run.txt
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.run locks/dev.txt
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r locks/dev.txt
	@touch $@

# KServe's client pins older versions of what MLflow needs, so it lives in an environment of its own; its test finds it
# by EVERLOOP_KSERVE_PYTHON
.venv/.kserve: .venv/.uv locks/kserve.txt
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv/kserve
	@$(UV) pip install --quiet --python .venv/kserve/bin/python --require-hashes -r locks/kserve.txt
	@touch $@

setup: .venv/.dev ## install Everloop and its tools for development into .venv

demo: .venv/.run ## see the whole loop at work on real sales
	@$(BIN)/everloop demo $(ARGS)

test: .venv/.dev lint ## all checks and tests
	@$(BIN)/python -m pytest $(ARGS)

lint: .venv/.dev ## style, types and import directions
	@$(BIN)/ruff format --check $(wildcard $(SOURCES))
	@$(BIN)/ruff check $(wildcard $(SOURCES))
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > .venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }

format: .venv/.dev ## bring the code into shape
	@$(BIN)/ruff format $(wildcard $(SOURCES))
	@$(BIN)/ruff check --fix $(wildcard $(SOURCES))

docs: .venv/.dev ## write the reference pages from the code
	@$(BIN)/python scripts/make_reference.py

bench: $(patsubst benchmarks/%/run.py,bench-%,$(wildcard benchmarks/*/run.py)) ## all benchmarks, into benchmarks/results

bench-%: .venv/.dev
	@$(BIN)/python benchmarks/$*/run.py $(ARGS)

soak: .venv/.dev ## kill everything at random moments, for long
	@EVERLOOP_SOAK=1 $(BIN)/python -m pytest $$(grep -rlE 'SIGKILL|EVERLOOP_SOAK' tests --include='test_*.py') $(ARGS)

lock: .venv/.uv ## pin the newest dependencies, with hashes
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		$(LOCKARGS) --group build --extra postgres -c locks/limits.txt pyproject.toml -o locks/run.txt
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		$(LOCKARGS) --group build --group dev --extra postgres -c locks/run.txt pyproject.toml -o locks/dev.txt
	@echo uv | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header $(LOCKARGS) - -o locks/uv.txt
	@echo 'kserve>=0.15' | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header $(LOCKARGS) - -o locks/kserve.txt

clean: ## remove what was made here
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
