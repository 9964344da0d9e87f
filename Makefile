# txdicom. On a fresh machine with Python and make: `make serve` runs a server, `make test` runs all tests.
# Everything is set up under .venv, once; pyproject.toml newer than a stamp sets it up again.

PORT ?= 11112
BASE ?= var
# Candidates; the newest that works is taken. `make PYTHON=/path/to/python3.12 …` names one.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# -bb: comparing bytes with text is an error in the tests
PYTEST := $(BIN)/python -bb -m pytest

NO_LIMIT := --timeout=0 -o faulthandler_timeout=0

# The tests that must cover every branch of pdu/, ul/ and dimse/. They run without a reactor (-p no:twisted): coverage
# would have to follow its greenlet, and each example of hypothesis would be a turn of the reactor.
SANS_IO := $(wildcard tests/pdu tests/ul tests/dimse tests/property tests/conformance)

PYTHON_STAMP := $(VENV)/.stamp-python
RUN_STAMP := $(VENV)/.stamp-run
TEST_STAMP := $(VENV)/.stamp-test
DEV_STAMP := $(VENV)/.stamp-dev

# Two installations into one environment at once would spoil it.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help serve test coverage test-rest soak lint bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /\1|/' | \
	  while IFS='|' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

serve: $(RUN_STAMP) ## run a server in the foreground (BASE=var PORT=11112); Ctrl-C ends it
	@exec $(BIN)/twistd -n --pidfile= dicomserver --base "$(BASE)" --listen "tcp:$(PORT):interface=127.0.0.1"

test: coverage test-rest ## run all tests, and demand full branch coverage below the Twisted line

coverage: $(TEST_STAMP) ## only the tests below the Twisted line; every branch there must be covered
	@echo "== tests below the Twisted line, under coverage =="
	@$(BIN)/python -bb -m coverage run -m pytest -p no:twisted $(SANS_IO)
	@$(BIN)/python -m coverage report

test-rest: $(TEST_STAMP) ## the other tests
	@echo "== all other tests =="
	@$(PYTEST) $(SANS_IO:%=--ignore=%)

soak: $(TEST_STAMP) ## long runs: associations by the thousand, long fuzzing
	@$(PYTEST) -m soak $(NO_LIMIT)
	@$(PYTEST) tests/property --hypothesis-profile=soak $(NO_LIMIT)

lint: $(DEV_STAMP) ## ruff (rules and format) and mypy strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(TEST_STAMP) ## this project beside its peers (DCMTK, pynetdicom), in alternating runs
	@$(BIN)/python -m benchmarks

clean: ## remove .venv, caches and built packages; never what a server stored under var/
	@rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache \
	  twisted/plugins/dropin.cache
	@find $(wildcard benchmarks examples tests twisted txdicom) -name __pycache__ -type d -prune -exec rm -rf {} +

$(PYTHON_STAMP):
	@newest=0; found=; \
	for candidate in $(PYTHON); do \
	  version=$$("$$candidate" -c 'import ensurepip, sys, venv; print(sys.version_info[0] * 100 + sys.version_info[1])' \
	    2>/dev/null) || continue; \
	  if [ "$$version" -ge 311 ] && [ "$$version" -gt "$$newest" ]; then newest=$$version; found=$$candidate; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "txdicom needs Python 3.11 or newer with its venv module; tried: $(PYTHON)." >&2; \
	  echo "Install one (Debian, Ubuntu: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$found" --version) ($$found)"; \
	"$$found" -m venv $(VENV)
	@touch $@

$(RUN_STAMP): $(PYTHON_STAMP) pyproject.toml
	@echo "Installing txdicom and what it needs into $(VENV) (once; about a minute)"
	@$(PIP) -e .
	@touch $@

$(TEST_STAMP): $(PYTHON_STAMP) pyproject.toml
	@echo "Installing txdicom and what its tests need into $(VENV) (once; about a minute)"
	@$(PIP) -e '.[test]'
	@touch $(RUN_STAMP) $@

$(DEV_STAMP): $(PYTHON_STAMP) pyproject.toml
	@echo "Installing txdicom, ruff and mypy into $(VENV) (once; about a minute)"
	@$(PIP) -e '.[dev]'
	@touch $(RUN_STAMP) $@
