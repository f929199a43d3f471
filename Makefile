# Every target makes .venv itself when it is missing or older than pyproject.toml and constraints.txt.
PYTHON ?= python3
PIP_FLAGS ?=
JOBS ?= 2
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
BIN := .venv/bin
STAMP := .venv/.installed
# Tests run in JOBS processes; more threads in each would only fight.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q
DEMO_ARGS ?=
NIGHTLY_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check bench nightly format env

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

demo: $(STAMP) ## train, export, prove and run a small model on real text (about three minutes)
	$(BIN)/flexit demo $(DEMO_ARGS)

test: $(STAMP) ## the tests (about a quarter of an hour on two cores)
	$(PYTEST) -m "not nightly"

check: $(STAMP) ## lint, formatting, types, import contracts and the fast tests (under 4 minutes)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo
	$(PYTEST) -m "not slow and not nightly"

bench: $(STAMP) ## measure training, emission and memory; writes docs/performance.md
	$(BIN)/python -m bench

nightly: $(STAMP) ## every test, on documents of the day, and for hours fuzzing and covering arrays, which go on where they stopped; writes docs/fuzzing.md
	export FLEXIT_FUZZ_DAY=$${FLEXIT_FUZZ_DAY:-$$(date -u +%Y%m%d)}; $(PYTEST); tests=$$?; \
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.nightly $(NIGHTLY_ARGS) && exit $$tests

format: $(STAMP) ## put the code into its canonical form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

env: $(STAMP) ## only make the environment

# torch comes first and alone: its plain version number takes a CPU build where the index offers one.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || { rm -rf .venv && $(PYTHON) -m venv .venv; }
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) $(TORCH)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e ".[dev,hf,train]"
	touch $@
