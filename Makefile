# Two commands matter: `make gameday` and `make test`. Both set everything up first; a second call starts at once.
.DEFAULT_GOAL := help
.PHONY: help setup gameday test test-long check format benchmark lock clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
HEAVY  := $(VENV)/.heavy
UV     := $(BIN)/uv
UV_VERSION := 0.13.8
JOBS   ?= 3  # one more than CI has cores: tests wait for servers

# uv does not read pip's own find-links setting; hand it over, so that a local wheel (torch, CPU build) is preferred.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
export MLFLOW_DISABLE_TELEMETRY := true
export PYTHONDONTWRITEBYTECODE :=

help: ## Show the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv with the pinned versions of requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is older than 3.11; run 'make $(MAKECMDGOALS) PYTHON=/path/to/python3.11'" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --compile-bytecode --requirement requirements.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --editable .
	@touch $(READY)

# torch, transformers and ray, a gigabyte that only tests of indexes need. The CPU build of torch: from a local wheel where
# pip is told of one, else from the project's own index, never with 15 CUDA packages.
TORCH_INDEX := $(if $(PIP_FIND_LINKS),,--index https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match)

$(HEAVY): $(READY) requirements-heavy.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps $(TORCH_INDEX) --requirement requirements-heavy.lock
	@touch $(HEAVY)

gameday: $(READY) ## Break a small real ML platform twice, recover it, open the report
	$(BIN)/ddr gameday run scenarios/bad-model-promotion.yaml scenarios/stale-online-features.yaml --report gameday-report

check: $(READY) ## Format, lint, types, import floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# By file: the tests of a file may tell one story. (xdist 3.8's groups have no effect under pytest 9.2.) A worker that dies
# ends the run: xdist would wait for ever for the tests that it had.
test: $(HEAVY) check ## Everything CI runs
	$(BIN)/pytest -n $(JOBS) --dist loadfile --max-worker-restart 0 -m "not long"

test-long: $(HEAVY) check ## The full campaigns too: every kill point on the real sandbox (about an hour)
	$(BIN)/pytest -n $(JOBS) --dist loadfile --max-worker-restart 0

format: $(READY) ## Rewrite the code the way `make check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: $(HEAVY) ## Speed, side by side with what a user would pick instead
	$(BIN)/python -m benchmarks

lock: $(READY) ## Resolve requirements.lock anew
	$(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --extra test pyproject.toml -o requirements.lock
	@echo "requirements-heavy.lock is kept by hand: torch, transformers, ray and what only they need"

clean: ## Remove .venv and everything built
	rm -rf $(VENV) dist gameday-report .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
