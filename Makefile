# `make demo` and `make test` set everything up on a fresh machine: a virtual environment in .venv, the
# library in it, and the clips they need. `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
# Any torch that pip accepts. On Linux the default build carries CUDA (several GB); point TORCH_INDEX at
# PyTorch's own CPU index to do without.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
# Passed on to pytest, as in `make test ARGS="tests/media -x"`.
ARGS ?=
# Processes that share the tests, each of which needs up to 3 GB; 0 runs them in pytest's own.
JOBS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
INSTALLED_TEST := $(VENV)/.installed-test

.PHONY: help install demo test test-fast lint docs bench bench-gpu clean

help:
	@echo "make demo     fetch two real clips, animate one by the other, leave the videos in demo/"
	@echo "make test     run all tests: 15 to 20 minutes on two cores"
	@echo "make test-fast  run those that take less than two minutes together, without a ComfyUI"
	@echo "make lint     run ruff, mypy and codespell"
	@echo "make docs     write docs/parameters.md and the other texts that follow from the code"
	@echo "make bench    measure what the README's figures come from"
	@echo "make bench-gpu  check and time the LivePortrait engine on a CUDA GPU, see benchmarks/gpu.md"
	@echo "make install  only make .venv with the library in it"
	@echo "make clean    remove .venv, demo/ and what builds and tests leave"

install: $(INSTALLED)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

# A torch that is there already stays.
$(INSTALLED): $(BIN)/python pyproject.toml
	@$(BIN)/python -c 'import torch' 2>/dev/null || \
		{ set -x; $(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)'; }
	$(PIP) install --quiet --editable .
	@touch $@

$(INSTALLED_TEST): $(INSTALLED)
	$(PIP) install --quiet --editable '.[test]'
	@# The reference networks; what else this package asks for, its networks don't need.
	$(PIP) install --quiet --no-deps mimic-head==0.1.5
	@touch $@

demo: $(INSTALLED)
	$(BIN)/python scripts/prepare_demo.py demo
	$(BIN)/liveportrait-v2v demo --dir demo

# Where a process crashes, the run ends: xdist's scheduler by file would wait for ever for the tests it had left.
test: $(INSTALLED_TEST)
	@echo "All tests take 15 to 20 minutes on two cores; make test-fast takes less than two minutes."
	$(BIN)/python -m pytest --numprocesses=$(JOBS) --max-worker-restart=0 --durations=10 $(ARGS)

test-fast: $(INSTALLED_TEST)
	$(BIN)/python -m pytest -m "not slow and not comfyui and not gpu" $(ARGS)

lint: $(INSTALLED_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/check_types.py
	$(BIN)/codespell

docs: $(INSTALLED)
	$(BIN)/python scripts/make_docs.py

bench: $(INSTALLED_TEST)
	$(BIN)/python -m benchmarks

bench-gpu: $(INSTALLED_TEST)
	$(BIN)/python -m benchmarks.gpu gather
	$(BIN)/python -m benchmarks.gpu $(ARGS)

clean:
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
