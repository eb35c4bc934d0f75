# The whole contributor interface: up, test, check, bench, docs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: up test check bench docs clean
.DEFAULT_GOAL := up

$(READY): pyproject.toml constraints.txt contrib/pulse-simulator/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; run: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]' -e contrib/pulse-simulator
	@touch $@

up: $(READY)  ## the product with a live demo, until Ctrl-C
	$(BIN)/pulse up --demo

test: $(READY)  ## every test; those whose outside peer is missing skip with the reason
	$(BIN)/python -m pytest $(ARGS)

check: $(READY)  ## format, lint, types, who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(READY)  ## the table of docs/reference/performance.md
	$(BIN)/python -m tests.bench $(ARGS)

docs: $(READY)  ## what docs are made from code: the hook and plugin reference
	$(BIN)/pulse docs --bundled

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache
