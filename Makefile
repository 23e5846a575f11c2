# GridQuorum: `make demo` and `make test` set up everything they need. Needs make, git, python3 (3.11 or later) with venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED_VENV := .venv-compiled
COMPILED := $(COMPILED_VENV)/.ready
LIBSODIUM := dist/.libsodium
WHEEL := $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist
HAS_COMPILER := $(shell command -v gcc >/dev/null && $(PYTHON) -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' 2>/dev/null && echo yes)
NEED_COMPILER := test -n "$(HAS_COMPILER)" || { echo "make: gcc or Python.h is missing; on Debian: apt-get install gcc python3-dev" >&2; exit 1; }
SOURCES := $(shell find ledger contracts pbft meters -name '*.py' -o -name '*.contract')

.PHONY: help demo test lint compiled bench pairs costs mutants clean
help:
	@echo "make demo   four replicas settle a day of household readings"
	@echo "make test   every test"
	@echo "make lint   ruff and mypy (strict)"
	@echo "make compiled  the wheels for validators of this platform, with the hot modules compiled (dist/; needs gcc)"
	@echo "make bench  a whole network measured in many ways: docs/performance.md (half an hour; ONLY='NAME ...' for some)"
	@echo "make pairs  this checkout and another in turns, as ratios (WITH=../other; both with make compiled)"
	@echo "make costs  what a transfer costs a replica, in one process and step by step, and contracts beside plain Python"
	@echo "make mutants  search a seed that finds each planted defect, and record it (NAME=... for some)"
	@echo "make clean  remove what make made"

$(READY): requirements.lock setup.py
	@command -v git >/dev/null || { echo "make: git is missing; on Debian: apt-get install git" >&2; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing; on Debian: apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than 3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: python3-venv is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV) (once)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# PyNaCl, the one release that the lock names, but compiled here: the libsodium of its wheels calls a function for each
# multiplication in the field; inlined, a signature is checked in nine tenths of the time (docs/operate.md, "The
# compiled build"). The second --quiet is for a warning about pip's cache.
$(LIBSODIUM): $(READY)
	@$(NEED_COMPILER)
	@echo "compiling libsodium into dist (once)" >&2
	@mkdir -p dist && rm -f dist/pynacl-*.whl
	@awk '/^[^ ]/ { wanted = /^pynacl==/ } wanted' requirements.lock > $(VENV)/pynacl.lock
	@CFLAGS="-O3 -finline-limit=3000" LDFLAGS=-s LIBSODIUM_MAKE_ARGS=--jobs=2 $(WHEEL) --quiet --no-binary pynacl --require-hashes --requirement $(VENV)/pynacl.lock
	@touch $@

# The wheels that validators install, and an environment in which they are installed: no source of this folder.
$(COMPILED): $(READY) $(LIBSODIUM) pyproject.toml $(SOURCES)
	@$(NEED_COMPILER)
	@echo "compiling into dist and $(COMPILED_VENV): a minute or two" >&2
	@rm -rf build dist/gridquorum-*.whl
	@GRIDQUORUM_COMPILED=1 LDFLAGS=-s $(WHEEL) .
	@test -x $(COMPILED_VENV)/bin/pip || $(PYTHON) -m venv $(COMPILED_VENV)
	@$(COMPILED_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(COMPILED_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/gridquorum-*.whl dist/pynacl-*.whl
	@touch $@

compiled: $(COMPILED)

demo: $(READY)
	@$(BIN)/gridquorum demo

test: $(READY) $(if $(HAS_COMPILER),$(COMPILED))
	@$(BIN)/python -m pytest

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(COMPILED)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.performance $(if $(ONLY),--only $(ONLY))

pairs: $(COMPILED)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.pairs $(WITH)

costs: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.replica_cost
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.verifier_cost
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.room_costs
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.contract_costs

mutants: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m simulation.mutant_runs $(NAME)

clean:
	rm -rf $(VENV) $(COMPILED_VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .gridquorum
