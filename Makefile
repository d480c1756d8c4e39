# Every target sets up the environment first when it is missing or stale.
PYTHON := .venv/bin/python
UV     := $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)
READY  := .venv/.ready
DEMO   := runs/demo

# Ray ships the project to every worker when it sees `uv run`; the environment is already there.
export RAY_ENABLE_UV_RUN_RUNTIME_ENV := 0
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-slow test-fast coverage lint bench gpu lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(READY) ## create or refresh the environment

$(READY): requirements.lock pyproject.toml
	@command -v $(UV) >/dev/null || { python3 -m venv .venv-uv && .venv-uv/bin/pip install --quiet uv; }
	@test -x $(PYTHON) || $(UV) venv --quiet --python 3.11 .venv
	$(UV) pip sync --quiet --python $(PYTHON) --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --python $(PYTHON) --no-deps --editable .
	@touch $@

demo: $(READY) ## data, joint training, evaluation, explanations and report on a local cluster
	@rm -rf $(DEMO)
	$(PYTHON) jobs/demo.py --train-config configs/demo.yaml --output $(DEMO)

serve: $(READY) ## serve the demo's checkpoint on this machine, port 8000
	@test -e $(DEMO)/train/best/manifest.json || { echo "no checkpoint at $(DEMO)/train/best: run 'make demo' first" >&2; exit 1; }
	$(PYTHON) -m ier_ray.serve.start serve_config.yaml

test: $(READY) ## the test suite without the tests that take minutes each
	$(PYTHON) -m pytest tests/unit --numprocesses auto
	$(PYTHON) -m pytest tests/integration -m "not alone and not slow" --numprocesses 2 --dist loadfile
	$(PYTHON) -m pytest tests/integration -m "alone and not slow"

test-slow: $(READY) ## the tests that take minutes each: lost nodes, nested trials, several clusters
	$(PYTHON) -m pytest tests/integration -m slow

coverage: $(READY) ## all tests, and the lines that they do not reach
	$(PYTHON) -m pytest tests/unit --numprocesses auto --cov --cov-report=
	$(PYTHON) -m pytest tests/integration --cov --cov-append

test-fast: $(READY) ## the tests that need no Ray, in parallel
	$(PYTHON) -m pytest tests/unit --numprocesses auto

lint: $(READY) ## format, lint, types and import contracts
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: $(READY) ## every benchmark in its quick mode
	@for script in benchmarks/*.py; do $(PYTHON) $$script --quick || exit 1; done

gpu: $(READY) ## checks, speed and constants of this machine's CUDA card, without Ray
	$(PYTHON) benchmarks/gpu.py

lock: ## resolve pyproject.toml into requirements.lock
	$(UV) pip compile --quiet --python-version 3.11 --python-platform linux --generate-hashes --no-header \
		--extra dev --extra compare --extra captions --extra heif --extra mlflow --extra study \
		--output-file requirements.lock pyproject.toml

clean: ## remove the environment and the demo's output
	rm -rf .venv .venv-uv $(DEMO)
