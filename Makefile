# GridQuorum: `make demo` and `make test` set up everything they need. Needs make, git, python3 (3.11 or later) with venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test lint bench costs mutants clean
help:
	@echo "make demo   four replicas settle a day of household readings"
	@echo "make test   every test"
	@echo "make lint   ruff and mypy (strict)"
	@echo "make bench  a whole network measured in many ways: docs/performance.md (half an hour; ONLY='NAME ...' for some)"
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

demo: $(READY)
	@$(BIN)/gridquorum demo

test: $(READY)
	@$(BIN)/python -m pytest

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.performance $(if $(ONLY),--only $(ONLY))

costs: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.replica_cost
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.verifier_cost
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.room_costs
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.contract_costs

mutants: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m simulation.mutant_runs $(NAME)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .gridquorum
