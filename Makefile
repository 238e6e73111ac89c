# Everything a newcomer needs: `make demo` and `make test` set up what they use.
# PYTHON chooses the interpreter (3.11 to 3.13) that the virtual environment is made with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Two pytest workers with one thread each use two cores without fighting over them.
JOBS ?= 2
export WANDB_MODE ?= offline

.PHONY: setup demo test check lint bench real clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $(STAMP)

demo: setup
	$(BIN)/hilum demo --out demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS)

check: setup lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) -m "not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: setup
	$(BIN)/python -P benchmarks/run.py

clean:
	rm -rf demo build dist *.egg-info .pytest_cache .ruff_cache
