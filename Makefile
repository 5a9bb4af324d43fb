# make demo | test | check | oracle | bench; the README has the same for uv, for those without make.
PYTHON ?= python3
BIN := .venv/bin
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
endif
RUN := $(BIN)/python

.PHONY: demo test check inspect install-trial oracle format bench schemas references clean

demo: .venv/ready
	$(RUN) scripts/demo.py

test: .venv/ready
	$(RUN) -m pytest

check: .venv/ready
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pytest

# The MCP inspector, through npx, against the server and a sandbox.
inspect: .venv/ready
	$(RUN) scripts/inspect_tools.py

# Every line of installation in the README, with uv, pip, npx and the agents' own commands (TRIAL=--without-agents).
install-trial: .venv/ready
	$(RUN) -m scripts.install_trial $(TRIAL)

# Our conversion of all official templates against the real web frontend's, in headless Chromium.
oracle: .venv/ready
	$(RUN) -m scripts.oracle

format: .venv/ready
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

bench: .venv/ready
	$(RUN) -m scripts.bench

schemas: .venv/ready
	$(RUN) scripts/schemas.py

# references/models.md, templates.md and node_packs.json, anew from the packages that scripts/update_references.py names.
references: .venv/ready
	$(RUN) -m scripts.update_references

# The environment is made once, and again when what it needs has changed.
.venv/ready: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	$(RUN) -c "import pathlib; pathlib.Path('.venv/ready').touch()"

clean:
	$(PYTHON) -c "import shutil; [shutil.rmtree(p, ignore_errors=True) for p in ('.venv', 'demo-output', '.mypy_cache', '.ruff_cache', '.pytest_cache', '.hypothesis')]"
