# `make demo` and `make test` are all a newcomer needs: each sets itself up first.
# Another interpreter: make PYTHON=python3.12 demo. More for pytest: make test PYTEST_ARGS="-k gate".
PYTHON ?= python3
PYTEST_ARGS ?=
VENV := .venv
RUN := $(VENV)/bin/python
MADE := $(VENV)/.made
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint tables clean

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

setup: $(STAMP)  ## install everything into .venv (about 3 GB, once)

demo: $(STAMP)  ## make phantoms, train, predict, report: into .demo/ and runs/
	$(RUN) -m segcgan.demo

# A file of tests stays in one process: its tests share what they train. One thread each: the processes fill the cores.
test: $(STAMP)  ## run the tests, on all cores
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

lint: $(STAMP)  ## style and types
	$(RUN) -m ruff check .
	$(RUN) -m mypy --strict segcgan

tables: $(STAMP)  ## remake the tables of benchmarks/ from the scores that are kept; minutes
	$(RUN) benchmarks/tables.py

clean:  ## remove what demo and the tools left; keeps .venv and runs/
	rm -rf .demo .mypy_cache .pytest_cache .ruff_cache build dist

# 12 GB: the download, pip's cache of it and the unpacked packages.
$(MADE):
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "$(PYTHON) is not found: segcgan needs Python 3.11 or newer; install it or name it: make setup PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$$("$(PYTHON)" --version) is too old: segcgan needs Python 3.11 or newer; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no 'venv' module: segcgan installs into .venv; add it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@free=$$(df -Pk . | awk 'NR == 2 { print int($$4 * 1024 / 1000000000) }'); [ "$$free" -ge 12 ] || { \
		echo "$$free GB are free here: segcgan and its packages need 12 GB; free some space or move the checkout" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

# TMPDIR: pip unpacks there, and /tmp is often a small file system in memory.
$(STAMP): pyproject.toml constraints.txt | $(MADE)
	@echo "Installing into $(VENV): about 3 GB, once."
	@mkdir -p $(VENV)/tmp
	TMPDIR="$(CURDIR)/$(VENV)/tmp" $(RUN) -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@rm -rf $(VENV)/tmp
	@touch $@
