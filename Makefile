# Two commands do everything on a fresh machine: `make demo` and `make test`.  Python 3.11 or newer, pip and make are all they need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint doctest bench dashboard versus clean

demo: .venv/train.stamp
	$(BIN)/convkit train --data digits --out runs/demo

# Two processes: most tests keep one core busy.  The tests of tensors and kernels run again on a simulated GPU.
test: .venv/test.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile
	$(BIN)/python -m pytest -n 2 --dist loadfile --device cuda:sim

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

doctest: .venv/test.stamp
	$(BIN)/python -m pytest --doctest-modules convkit kernels -q -n 2 --dist loadfile

# QUICK=1 gives figures that only show that it runs: they are kept apart, under a machine called `quick`, until the next proper run.
# asv keeps results by commit, so it needs a git checkout.
ASV := $(BIN)/asv --config asv_benchmarks/asv.conf.json
RESULTS := asv_benchmarks/.asv
bench: .venv/dev.stamp
	$(if $(QUICK)$(BENCH),,@echo 'Every benchmark: more than an hour on two cores.  BENCH=REGEX takes some, QUICK=1 one call of two shapes each.')
	$(if $(QUICK),,rm -rf $(RESULTS)/results/quick)
	$(ASV) machine --yes $(if $(QUICK),--machine quick)
	$(if $(QUICK),CONVKIT_BENCH_QUICK=1) $(ASV) run --python=same --set-commit-hash HEAD $(if $(QUICK),--quick --machine quick) $(if $(BENCH),--bench '$(BENCH)')

# asv-tachyon's page in place of asv's own, which fetches its scripts from the network.
dashboard: bench
	$(ASV) publish
	$(BIN)/asv-tachyon install --no-backup $(RESULTS)/html > /dev/null
	@echo 'Published in $(RESULTS)/html.  To look at it: $(BIN)/asv-tachyon serve $(RESULTS)/html --open'

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
