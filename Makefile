# Every target sets up its own virtual environment first; nothing but Python, pip and make is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help demo test check format clean

help:
	@echo "make demo    forget 16 handwritten digits and print the before/after table"
	@echo "make test    run every test"
	@echo "make check   formatter, linter, type checker, import directions"
	@echo "make format  rewrite the sources in the project's format"
	@echo "make clean   remove the virtual environment and caches"

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[models,dev]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/expunge demo

test: $(INSTALLED) check
	$(BIN)/pytest

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
