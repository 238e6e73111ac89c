# Everything a newcomer needs: `make demo` and `make test` set up what they use.
# PYTHON chooses the interpreter (3.11 to 3.13) that the virtual environment is made with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Two pytest workers with one thread each use two cores without fighting over them. Bytecode is kept
# even where the environment forbids it, as images do: else each process compiles all of hilum anew.
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(JOBS) --dist worksteal
export WANDB_MODE ?= offline

.PHONY: setup demo test check lint docs graph bench bench-full real clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $(STAMP)

demo: setup
	$(BIN)/hilum demo --out demo

test: setup
	$(PYTEST)

check: setup lint
	$(PYTEST) -m "not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -P tests/architecture/draw.py --check

# The documentation site, in build/site; a broken link or anchor fails.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The picture of the import graph in docs/pictures.
graph: setup
	$(BIN)/python -P tests/architecture/draw.py

# The peers live in an environment of their own; `make bench BENCH=.venv` takes the one that is there.
BENCH ?= .venv-bench

$(BENCH)/.bench: pyproject.toml
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --upgrade pip
	$(BENCH)/bin/python -m pip install --quiet --editable ".[fast,blosc2,peers]"
	touch $(BENCH)/.bench

# Quick: under ten minutes on two free cores; prints targets and ratios.
bench: $(BENCH)/.bench
	HILUM_BENCH_QUICK=1 OMP_NUM_THREADS=1 $(BENCH)/bin/python benchmarks/run.py

# Everything, about an hour; makes docs/performance.md and its pictures anew.
bench-full: $(BENCH)/.bench
	OMP_NUM_THREADS=1 $(BENCH)/bin/python benchmarks/run.py

clean:
	rm -rf demo build dist *.egg-info .pytest_cache .ruff_cache
