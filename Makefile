# make run: train the tiny policy.  make test: run the tests.  Both make their own environment in .venv first.
PYTHON ?= python3.11
VENV   := .venv
STAMP  := $(VENV)/.installed

.PHONY: run test lint clean

run: $(STAMP)
	$(VENV)/bin/python -m align_lab algo=reinforce_pp

test: $(STAMP)
	$(VENV)/bin/python -m pytest

lint: $(STAMP)
	$(VENV)/bin/python -m pip install --quiet "ruff>=0.14" "pyright>=1.1.400"
	$(VENV)/bin/ruff check . && $(VENV)/bin/pyright

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "this needs Python 3.11 or newer as $(PYTHON): make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip setuptools wheel
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
