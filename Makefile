# Every target but `browser` makes .venv and installs the package first when that is missing or its metadata has changed;
# every target but `run`, which needs less, what the tests and tools need, too. Another PYTHON than before makes .venv again.
# Needed beforehand: python3 >= 3.11 (with its venv module), make, and a package registry that pip can reach.

PYTHON ?= python3
CONFIG ?= configs/digits.yaml
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
INSTALLED := .venv/.installed
FOR_TESTS := .venv/.installed-test
PYTEST := $(BIN)/pytest -q -n 2 --dist loadfile --durations=20

# The tests run when the linters find something, too; make fails in the end.
MAKEFLAGS += --keep-going

.PHONY: run test check pytest coverage slow extras docs bench browser help
.DELETE_ON_ERROR:

ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -V 2> /dev/null || true),$(shell $(BIN)/python -V 2> /dev/null || true))
.PHONY: $(INSTALLED)
CLEAR := --clear
endif
endif

run: $(INSTALLED) ## the digits recipe from images to verified files; CONFIG=<file> for another one
	@$(BIN)/scarlet run $(CONFIG)

test: check pytest ## the linters, mypy and the tests: what continuous integration runs

check: $(FOR_TESTS) ## ruff, import-linter and mypy alone
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/lint-imports --no-logo > .venv/lint-imports.txt 2>&1 || { cat .venv/lint-imports.txt; exit 1; }
	@$(BIN)/mypy > .venv/mypy.txt 2>&1 || { cat .venv/mypy.txt; exit 1; }
	@echo "ruff, import-linter and mypy: no findings"

# Which convolutions TensorFlow has, and their rounding, depend on oneDNN, which is on by itself on some processors only:
# tests of what computes run without it and with it. The later parts run when an earlier one fails, too.
pytest: $(FOR_TESTS) ## the tests alone
	@failed=0; $(PYTEST) -m "not slow and not both_modes" || failed=1; \
	for mode in 0 1; do \
	  echo "== TF_ENABLE_ONEDNN_OPTS=$$mode"; \
	  TF_ENABLE_ONEDNN_OPTS=$$mode $(PYTEST) -m "not slow and both_modes" || failed=1; \
	done; \
	exit $$failed

# The processes that tests start are measured, too.
coverage: $(FOR_TESTS) ## the tests, with the share of the lines that they run
	@$(BIN)/pytest -q -n 2 --dist loadfile --cov --cov-report=term:skip-covered

slow: $(FOR_TESTS) ## the tests that take minutes, which `make test` leaves out
	@$(PYTEST) -m slow

# Some gigabytes: on Linux, PyTorch from the package index brings CUDA's libraries.
EXTRAS := tests/export/test_mediapipe.py tests/models/test_torch_parity.py tests/tools/test_torch_supernet.py tests/training/test_log_files.py
extras: $(FOR_TESTS) ## the tests that need PyTorch, TensorBoard or MediaPipe, which are installed into .venv first
	@$(PIP) --editable '.[torch,tensorboard,mediapipe]'
	@$(BIN)/pytest -q -m "slow or not slow" $(EXTRAS)

docs: $(FOR_TESTS) ## the documentation, in site/; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "site/index.html"

# A script that lacks a program, or the run that it measures, says so and ends with 2; the others go on.
bench: $(FOR_TESTS) ## every tools/bench_*.py
	@for file in tools/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || [ $$? -eq 2 ] || exit 1; done

# It is written to export/browser/dist.
browser: ## the page for browsers; MODEL=<file.tflite> is the network that it opens at once
	@command -v npm > /dev/null || { echo "make: npm was not found; install Node.js 18.17 or newer" >&2; exit 1; }
	@cd export/browser && npm ci --silent --no-audit --no-fund && npm run --silent build -- $(if $(MODEL),--model "$(abspath $(MODEL))")

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

$(INSTALLED): setup.cfg pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "make: $(PYTHON) was not found; install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -c 'import platform; print(platform.python_version())'); try make PYTHON=python3.12" >&2; \
	  exit 1; }
	@echo "Installing scarlet_tf and its dependencies into .venv (once; some minutes)"
	@$(PYTHON) -m venv $(CLEAR) .venv
	@$(PIP) --editable .
	@touch $@

$(FOR_TESTS): $(INSTALLED)
	@echo "Installing what the tests and tools need into .venv (once; some minutes)"
	@$(PIP) --editable '.[test]'
	@touch $@
