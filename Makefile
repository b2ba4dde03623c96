# Two commands do everything on a fresh machine: `make demo` and `make test`.  Python 3.11 or newer, pip and make are all they need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint doctest bench versus clean

demo: .venv/train.stamp
	$(BIN)/convkit train --data digits --out runs/demo

# Two processes: most tests keep one core busy.
test: .venv/test.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

doctest: .venv/test.stamp
	$(BIN)/python -m pytest --doctest-modules convkit kernels -q

bench: .venv/dev.stamp
	$(BIN)/asv --config asv_benchmarks/asv.conf.json machine --yes
	$(BIN)/asv --config asv_benchmarks/asv.conf.json run --python=same --set-commit-hash `git rev-parse HEAD`

versus: .venv/bench.stamp
	$(BIN)/python asv_benchmarks/versus.py

clean:
	rm -rf .venv build dist *.egg-info runs .mypy_cache .ruff_cache .pytest_cache .hypothesis asv_benchmarks/.asv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "convkit needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/%.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
