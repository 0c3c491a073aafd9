# Needs only make and Python 3.11 or later; every target sets itself up.

PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FUZZER := $(VENV)/.fuzzer
SOURCES := brokerproto transports services benchmarks docs fuzz
COVERAGE_FLOOR := 95
SIDE_BY_SIDE := -q -n auto --dist worksteal
MINUTES ?= 30
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

# The tests start programs by the thousand, which without bytecode compile all they import.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv test test-quick lint types docs generated diagrams wheel-check image-check network-check demo soak \
	capacity bench bench-smoke fuzz fuzz-smoke lock clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## make .venv with everything in it

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "$(PYTHON) is missing or older than Python 3.11: name another, as in make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test: $(STAMP) ## run the tests on both reactors and check the coverage
	$(BIN)/coverage erase
	COVERAGE_FILE=.coverage.default $(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report= --reactor=default
	COVERAGE_FILE=.coverage.asyncio $(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report= --reactor=asyncio -m reactor
	$(BIN)/coverage combine --quiet .coverage.default .coverage.asyncio
	$(BIN)/coverage report --fail-under=$(COVERAGE_FLOOR)

test-quick: $(STAMP) ## run those that start no programs, on one reactor
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'not e2e'

lint: $(STAMP) ## check style and formatting with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## check the types with mypy --strict
	$(BIN)/mypy $(SOURCES) tests
	$(BIN)/mypy twisted/plugins/*.py .ci/*.py
	$(BIN)/mypy examples/*/*.py examples/*/tests/*.py

docs: $(STAMP) ## build the documentation into build/docs
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --nitpicky --quiet \
	  --doctree-dir build/doctrees docs build/docs

generated: $(STAMP) ## write anew what of the pages comes from the code
	$(BIN)/python -m docs.generate

diagrams: $(STAMP) ## write that anew, and draw all diagrams (needs Graphviz)
	$(BIN)/python -m docs.generate --draw

wheel-check: $(STAMP) ## build the wheel, look into it, and run both programs from it alone
	$(BIN)/python .ci/wheel_check.py

image-check: $(STAMP) ## build the image and run it in containers (Linux, root, podman)
	$(BIN)/python -m tests.image.tools
	$(BIN)/python -m pytest -q -m image tests/image

# The tests wait for most of their time, so that several files go side by side.
network-check: $(STAMP) ## run the programs on networks that fail, in namespaces (Linux, root, nftables)
	$(BIN)/python -m tests.network.tools
	@for reactor in default asyncio; do printf "$$reactor %s\n" tests/network/test_*.py; done | \
	  xargs -P 5 -L 1 sh -c '$(BIN)/python -m pytest -q -p no:cacheprovider -m network --reactor=$$0 $$1'

demo: $(STAMP) ## watch a broker and 500 engines for a minute
	$(BIN)/python -m services.scaletest.demo

soak: $(STAMP) ## half an hour of trouble for a broker and 2,000 engines (MINUTES=30)
	$(BIN)/python -m services.scaletest.soak --minutes $(MINUTES)

capacity: ENGINES ?= 100000
capacity: $(STAMP) ## how many engines this machine holds, at several brokers (ENGINES=100000)
	$(BIN)/python -m services.scaletest.capacity --engines $(ENGINES)

bench: ENGINES ?= 15000
bench: ROUNDS ?= 8
bench: $(STAMP) ## measure all of it against a bare broker in C (ROUNDS=8 ENGINES=15000; needs a C compiler)
	$(BIN)/python -m benchmarks in-memory
	$(BIN)/python -m benchmarks run --rounds $(ROUNDS) --engines $(ENGINES)

bench-smoke: $(STAMP) ## do that small, to see that every heartbeat is counted
	$(BIN)/python -m tests.benchmarks.tools
	$(BIN)/python -m benchmarks smoke

# Without a wheel of the fuzzer this installs nothing, and fuzzing says so.
$(FUZZER): requirements/fuzz.txt $(STAMP)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $@

fuzz: $(FUZZER) ## look for bytes that break what must hold, a minute for each target
	$(BIN)/python -m fuzz all

fuzz-smoke: $(FUZZER) ## the same, about ten seconds for each
	$(BIN)/python -m fuzz all --smoke

lock: ## resolve requirements/*.txt anew (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(UV) pip compile $(LOCK) --extra bench --extra dev --extra demo --extra docs --output-file requirements/dev.txt pyproject.toml
	$(UV) pip compile $(LOCK) --output-file requirements/image.txt pyproject.toml
	fuzz=$$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["fuzz"], sep="\n")') && \
	  echo "$$fuzz" | $(UV) pip compile $(LOCK) --output-file requirements/fuzz.txt -
	requires=$$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")') && \
	  echo "$$requires" | $(UV) pip compile $(LOCK) --constraints requirements/dev.txt --output-file requirements/build.txt -

clean: ## remove all that was made here
	rm -rf $(VENV) build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache
