SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
STAMP := .venv/.installed
PHOTOGRAPHS := examples/SOURCES.txt
TEST_FLAGS ?=

# Nothing but what the lock files name comes in.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help setup demo up test bench chaos chaos-mutants compose-test check fmt lock docs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) $(PHOTOGRAPHS) ## make .venv from the locked requirements, and fetch the example photographs

$(STAMP): requirements/dev.txt pyproject.toml
	@python=""; \
	for candidate in python3.11 python3; do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "Darkroom needs Python 3.11: neither python3.11 nor python3 on PATH is that version." >&2; exit 2; fi; \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null; then \
	    "$$python" -m venv --clear .venv || { echo "$$python cannot make a virtual environment: install its venv module (Debian: python3.11-venv)." >&2; exit 2; }; \
	fi
	@echo "installing the locked requirements into .venv"
	@$(BIN)/python -m pip install -qq --require-hashes --only-binary :all: --requirement requirements/dev.txt
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

$(PHOTOGRAPHS): requirements/examples.txt tools/photographs.py | $(STAMP)
	@$(BIN)/python tools/photographs.py
	@touch $@

demo: setup ## start all, classify the photographs of examples/ three ways, print a table, stop
	@$(BIN)/python tools/demo.py

up: setup ## start all and stay: http://127.0.0.1:8000, or another port with DARKROOM_PORT
	@$(BIN)/darkroom up

test: setup ## run every test and hold branch coverage to its limit
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest tests/unit tests/contract -n 2 --dist loadfile $(TEST_FLAGS)
	$(BIN)/coverage run -m pytest tests/integration $(TEST_FLAGS)
	$(BIN)/pytest tests/faults -n 4 $(TEST_FLAGS)
	$(BIN)/pytest tests/docs $(TEST_FLAGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

bench: setup ## measure what a request costs, and write docs/performance.md; BENCH_FLAGS="http --quick" for a look
	$(BIN)/python -m benchmarks $(BENCH_FLAGS)

chaos: setup ## kill, freeze and cut off every part under load: does every accepted job end, once? CHAOS_FLAGS="--scenario F1"
	$(BIN)/python -m tests.faults $(CHAOS_FLAGS)

chaos-mutants: setup ## break the product in 20 ways, one by one, in copies: is each noticed? MUTANT_FLAGS="--only nobody-reaps"
	$(BIN)/python -m tests.faults.mutants $(MUTANT_FLAGS)

compose-test: setup ## start everything in real containers and try it; needs Docker with Compose
	$(BIN)/pytest tests/e2e $(TEST_FLAGS)

check: setup ## lint, types, import directions, dependencies, locks, workflow, images, generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/python tools/check_locks.py
	$(BIN)/python tools/references.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github/workflows
	$(BIN)/hadolint Dockerfile.gateway Dockerfile.worker

fmt: setup ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" $(UPGRADE)
# What an extra asks for, without what the client asks for: an image carries only what its process needs.
EXTRA := $(BIN)/python -c 'import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")'

lock: $(STAMP) ## lock the requirements anew; UPGRADE=--upgrade takes the newest versions
	$(LOCK) --extra gateway --extra worker --extra embedded pyproject.toml requirements/dev.in -o requirements/dev.txt
	$(EXTRA) gateway | $(LOCK) -c requirements/dev.txt - -o requirements/gateway.txt
	$(EXTRA) worker | $(LOCK) -c requirements/dev.txt - -o requirements/worker.txt
	$(LOCK) -c requirements/dev.txt pyproject.toml -o requirements/client.txt
	$(LOCK) --no-deps requirements/examples.in -o requirements/examples.txt
	$(BIN)/python tools/check_locks.py

docs: setup ## write the pages of docs/reference from the code
	$(BIN)/python tools/references.py

clean: ## remove all that make has made
	rm -rf .venv build dist examples .coverage .coverage.* htmlcov
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis
