# Two commands do everything: `make demo` and `make test`. Both set up what they need, and are quick a second time.
PYTHON ?= python3
PYTHON312 ?= python3.12
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
.DEFAULT_GOAL := help
.PHONY: help demo test check format lock bench bench-pins soak search fuzz spark focus kql clean

help:  ## Say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Penstock needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Penstock into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@echo "Installing the development tools into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

demo: $(VENV)/.runtime  ## Start gateway and dashboard with sample traffic; no key, no server needed
	@$(VENV)/bin/penstock demo

# One more than there are cores: many tests wait, for a lease to end or for a server to come up.
test: $(VENV)/.dev  ## Run every test
	@$(VENV)/bin/python -m pytest --numprocesses $$($(VENV)/bin/python -c 'import os; print((os.cpu_count() or 1) + 1)') --dist loadfile

check: $(VENV)/.dev  ## Check format, lint, types and walls
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: $(VENV)/.dev  ## Format, and mend what the linter can mend
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

lock: $(VENV)/.dev  ## Resolve the dependencies anew, with hashes
	@$(PIP) install uv
	@$(VENV)/bin/uv pip compile $(LOCK) --upgrade pyproject.toml requirements/build.in --group dev -o requirements/dev.txt
	@$(VENV)/bin/uv pip compile $(LOCK) pyproject.toml requirements/build.in --extra otel -c requirements/dev.txt -o requirements/runtime.txt
	@$(VENV)/bin/uv pip compile $(LOCK) pyproject.toml --extra spark -c requirements/dev.txt -o requirements/spark.txt
	@$(VENV)/bin/uv pip compile $(LOCK) requirements/fuzz.in -o requirements/fuzz.txt
	@$(VENV)/bin/uv pip compile $(LOCK) --python-version 3.12 requirements/focus.in -o requirements/focus.txt

bench: $(VENV)/.dev  ## Measure everything beside other gateways (20 minutes), and write benchmarks/RESULTS.md and PROFILE.md
	@$(VENV)/bin/python -m benchmarks --full --peers --write benchmarks
	@$(VENV)/bin/python -m benchmarks.worker_profile --write benchmarks/PROFILE.md

bench-pins: $(VENV)/.dev
	@$(PIP) install uv
	@cd benchmarks/pins && for pins in peers profile; do $(CURDIR)/$(VENV)/bin/uv pip compile $(LOCK) --upgrade $$pins.in -o $$pins.txt; done
	@cd benchmarks/pins/portkey && rm -f package-lock.json && npm install --silent --package-lock-only --omit-lockfile-registry-resolved

soak: $(VENV)/.dev  ## Kill workers under load in 50 runs, and hold the ledger against the bill
	@$(VENV)/bin/python -m tests.gateway.soak

search: $(VENV)/.dev  ## Try other examples than the tests do, different ones each time
	@$(VENV)/bin/python -m pytest --hypothesis-profile=search $$(grep -rl hypothesis tests --include='test_*.py')

SECONDS_EACH ?= 60
fuzz: $(VENV)/.dev  ## Look for bytes that are understood in two ways, a minute a side (SECONDS_EACH=300 for longer)
	@$(PIP) install --require-hashes -r requirements/fuzz.txt
	@$(VENV)/bin/python -m tests.gateway.fuzz door --seconds $(SECONDS_EACH)
	@$(VENV)/bin/python -m tests.gateway.fuzz provider --seconds $(SECONDS_EACH)

spark: $(VENV)/.dev  ## Ask the ledger's questions of Spark too (a large download; needs Java)
	@$(PIP) install --require-hashes -r requirements/spark.txt
	@$(VENV)/bin/python -m pytest tests/ledger/test_spark.py

focus: $(VENV)/.runtime  ## Ask the FOCUS validators about exported files (a large download; needs Python 3.12)
	@test -x $(VENV)/focus/bin/python || $(PYTHON312) -m venv $(VENV)/focus
	@$(VENV)/focus/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements/focus.txt
	@$(VENV)/bin/python tools/check_focus.py $(VENV)/focus/bin

kql:  ## Ask Microsoft's language service about the KQL queries (downloads it; needs Node.js)
	@cd tools/kql && npm ci --silent
	@node tools/kql/check.js src/penstock/ledger/exporters/files/kql/*.kql

clean:  ## Remove the environment
	@rm -rf $(VENV)
