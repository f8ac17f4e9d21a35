# Every target does its own set-up: Python 3.11 or later, a C++ compiler and make are all it needs.
#
#     make demo       train a small language model on the text every Python carries, and stream from it
#     make test       the tests, in minutes
#     make check      all that continuous integration runs
#     make claims     run the papers whose claims have no verdict yet
#
# Another interpreter: `make test PYTHON=python3.12`. To start afresh: `make clean`.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# The build tools are pinned too, which an isolated build would not be.
BUILD_TOOLS := scikit-build-core nanobind cmake ninja
NATIVE := $(shell find native -type f 2>/dev/null)

.PHONY: demo test test-all claims lint format types docs check clean

demo: .venv/installed
	$(BIN)/statewise demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -m "not long"

test-all: .venv/installed-dev
	$(BIN)/python -m pytest

claims: .venv/installed-dev
	$(BIN)/python -m statewise.literature

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: .venv/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: .venv/installed-dev
	$(BIN)/basedpyright

docs: .venv/installed-dev
	$(BIN)/python -m mkdocs build --strict --quiet

check: test lint types docs

clean:
	rm -rf .venv build site

.venv/tools: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "statewise needs Python 3.11 or later: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@echo "Installing torch and the build tools into .venv; the first time takes a few minutes."
	$(PIP) torch $(BUILD_TOOLS)
	@touch $@

.venv/installed: .venv/tools pyproject.toml $(NATIVE)
	$(PIP) --no-build-isolation --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@
