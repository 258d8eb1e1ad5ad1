# Every target sets up its own virtual environment first; nothing but Python, pip and make is needed.

# Modules are compiled once, as they are first used; where this is set, every process would compile torch anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# One process a core with one thread each: twice as fast as one process with a thread on every core.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist worksteal
QUICK := tests/base tests/compute tests/docs tests/golden tests/report tests/surrogates tests/task tests/methods/test_engine.py tests/methods/test_unlearn.py tests/test_architecture.py

.PHONY: help demo demo-seeds quick test pytest attack check check-processors gpu matrix docs links dist format clean

help:
	@echo "make demo    forget 16 handwritten digits in three ways, side by side"
	@echo "make quick   run the tests that take no time: what to run while working"
	@echo "make test    check, and run every test; with --jobs 2 side by side"
	@echo "make check   formatter, linter, type checker, import directions"
	@echo "make docs    write the documentation site to build/docs; the tutorials run"
	@echo "make links   follow every link of the pages to another site; it needs the internet"
	@echo "make dist    build wheel and sdist, and test both in environments of their own"
	@echo "make format  rewrite the sources in the project's format"
	@echo "make check-processors  run the tests of trajectories as other processors would compute them"
	@echo "make demo-seeds        test the demo with ten seeds"
	@echo "make attack  kill, starve, damage and inject, with fixed seeds; prints one table, in about 10 minutes"
	@echo "make gpu     check the device that is there against the CPU, and time it, in under 5 minutes"
	@echo "make matrix  run the quick tests with every Python and torch that this machine has or can get"
	@echo "make clean   remove the virtual environment and caches"

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[models,dev,docs]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/expunge demo

test: check pytest

pytest: $(INSTALLED)
	$(PYTEST)

quick: $(INSTALLED)
	$(PYTEST) -m "not slow and not browser and not processor" $(QUICK)

check-processors: $(INSTALLED)
	$(BIN)/python tests/check_processors.py

attack: $(INSTALLED)
	$(BIN)/python tests/attack

gpu: $(INSTALLED)
	$(BIN)/python benchmarks/speed/gpu.py

matrix: $(INSTALLED)
	$(BIN)/python tests/check_versions.py

demo-seeds: $(INSTALLED)
	EXPUNGE_DEMO_SEEDS=10 $(BIN)/pytest tests/jobs/test_demo.py

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED)
	$(BIN)/python -m sphinx -W --keep-going -b html docs build/docs

links: $(INSTALLED)
	$(BIN)/python -m sphinx -q -b linkcheck -c tools/links . build/links

dist: $(INSTALLED)
	$(BIN)/python tools/check_dist.py

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
