# The whole contributor interface: up, test, check, bench, docs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ASSETS := hosts/pulse_server/web/static/vendor/LICENSES.txt
JOBS   ?= $(shell expr $$(getconf _NPROCESSORS_ONLN || echo 1) + 1)

.PHONY: up test check bench docs clean
.DEFAULT_GOAL := up

$(READY): pyproject.toml constraints.txt contrib/pulse-simulator/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; run: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]' -e contrib/pulse-simulator
	@touch $@

# Without npm, or without a network, everything goes on without them; the server says what is missing.
$(ASSETS): frontend/package.json frontend/package-lock.json hosts/pulse_server/web/third_party.py | $(READY)
	@if ! command -v npm >/dev/null; then echo "npm is not installed: the pages go without htmx, uPlot and their style sheet"; \
	else npm ci --prefix frontend --no-progress && $(BIN)/python hosts/pulse_server/web/third_party.py frontend/node_modules \
	|| echo "npm could not fetch them: the pages go without htmx, uPlot and their style sheet"; fi

up: $(READY) $(ASSETS)  ## the product with a live demo, until Ctrl-C
	$(BIN)/pulse up --demo

test: $(READY) $(ASSETS)  ## every test; those whose outside peer is missing skip with the reason
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY)  ## format, lint, types, who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(READY)  ## the table of docs/reference/performance.md
	$(BIN)/python -m tests.bench $(ARGS)

docs: $(READY) $(ASSETS)  ## what docs are made from code: the hook and plugin reference, MQTT, pictures of pages
	$(BIN)/pulse docs --bundled
	PYTHONPATH=tests $(BIN)/python -m support.mqtt_table
	PYTHONPATH=tests $(BIN)/python -m support.screenshots

clean:
	rm -rf $(VENV) frontend/node_modules $(dir $(ASSETS)) .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache
