# make demo · make test · make lint: each sets up all that it needs in .venv.
# PYTHON picks the interpreter, PIP_ARGS is handed to every pip install (README, Installation
# by hand).

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test lint setup clean-venv

demo: setup
	$(BIN)/kedro run --env demo

test: setup
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, and $(PYTHON) is not. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv; the first time brings about 6 GB, most of it PyTorch ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
	  --constraint constraints.txt --editable ".[viz,notebooks,page,dev]"
	@touch $@

clean-venv:
	rm -rf .venv
