# Every target but `browser` makes .venv and installs the package first when that is missing or its metadata has changed.
# Needed beforehand: python3 >= 3.11 (with its venv module), make, and a package registry that pip can reach.

PYTHON ?= python3
CONFIG ?= configs/digits.yaml
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: run test check docs bench browser
.DELETE_ON_ERROR:

run: $(STAMP)
	@$(BIN)/scarlet run $(CONFIG)

test: check
	@$(BIN)/pytest -q -n 2 --dist loadfile

check: $(STAMP)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/lint-imports --no-logo > .venv/lint-imports.txt 2>&1 || { cat .venv/lint-imports.txt; exit 1; }
	@$(BIN)/mypy > .venv/mypy.txt 2>&1 || { cat .venv/mypy.txt; exit 1; }
	@echo "ruff, import-linter and mypy: no findings"

# The documentation, in site/; a warning is an error.
docs: $(STAMP)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "site/index.html"

# A script that lacks a program says so and ends with 2; the others go on.
bench: $(STAMP)
	@for file in tools/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || [ $$? -eq 2 ] || exit 1; done

# The page for browsers, in export/browser/dist; MODEL=<file.tflite> is the network that it opens at once.
browser:
	@command -v npm > /dev/null || { echo "make: npm was not found; install Node.js 18.17 or newer" >&2; exit 1; }
	@cd export/browser && npm ci --silent --no-audit --no-fund && npm run --silent build -- $(if $(MODEL),--model "$(abspath $(MODEL))")

$(STAMP): setup.cfg pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "make: $(PYTHON) was not found; install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -c 'import platform; print(platform.python_version())'); try make PYTHON=python3.12" >&2; \
	  exit 1; }
	@echo "Installing scarlet_tf and its dependencies into .venv (once; some minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@
