# `make lab` opens the lab, `make test` runs every test. Both first make `.venv`, once; `make help` lists the rest.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := lab,test,pretrain,scale

# The versions the tests were last seen to pass with. `make test PINS=` takes the newest that the ranges allow.
PINS ?= tests/constraints.txt

# Any interpreter from 3.11 on will do; `make lab PYTHON=/path/to/python` chooses one.
PYTHON ?=
PYTHONS := $(PYTHON) python3 python3.13 python3.12 python3.11 python

# Real photographs, where they lie beside the checkout. Without them the tests say what they left out.
ifneq ($(wildcard ../shared/data),)
export LABKIT_DATA ?= $(abspath ../shared/data)
endif

heading = @printf '\n\033[1m== %s ==\033[0m\n' "$(1)"
pytest  = $(BIN)/python -m pytest
# Two tests at a time, each on one thread: networks this small gain little from a second one. Those of a file stay
# together, as they share what is slow to make; those in the browser share nothing.
paired  = OMP_NUM_THREADS=1 $(pytest) --numprocesses=2 --dist=loadfile

.DEFAULT_GOAL := help
.PHONY: help lab test quick install backend browser node lint types arrows fast kernel lessons page bounds colab \
  bench-console peaks soak mutants fresh notebooks book format pins clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lab: $(STAMP) ## Open JupyterLab on the first lesson; without a display, print the address
	@$(BIN)/labkit lab

test: $(STAMP) ## Run every check and every test, cheapest first; go on after a failure
	@$(MAKE) --no-print-directory --keep-going lint types arrows fast kernel lessons page

quick: $(STAMP) ## Run what is quick of the unit tests and invariants: at most 3 minutes on 2 cores
	$(call heading,Units and invariants that are quick)
	@$(paired) -m "not slow" tests/unit tests/invariants

# ---------------------------------------------------------------- the environment

# What is in a download, measured for Python 3.11 on Linux; the README says the same. Most of the larger one are CUDA's
# libraries, of no use without a GPU of NVIDIA's, so there the CPU build of torch and torchvision is taken where it can
# be had: both or neither, because from two sources they do not fit each other.
SMALL := about 0.6 GB to download and 2.2 GB of disk: 1 to 2 minutes at 100 Mbit/s
LARGE := about 3.4 GB to download and 6.7 GB of disk: 5 to 7 minutes at 100 Mbit/s
cpu_build = [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null && [ ! -e /dev/nvidiactl ] \
  && ! ls $(VENV)/lib/python*/site-packages/nvidia >/dev/null 2>&1 \
  && printf 'torch\ntorchvision\n' | UV_HTTP_RETRIES=0 UV_HTTP_TIMEOUT=20 $(BIN)/uv pip compile --quiet \
    --python $(BIN)/python $(if $(PINS),--constraint $(PINS)) --torch-backend=cpu - >/dev/null 2>&1

backend: ## Say which build of torch an installation takes here
	@if $(cpu_build); then echo cpu; else echo default; fi

install: $(STAMP) ## Create .venv and install the lab and its tools

# uv installs in seconds where pip takes minutes; where uv cannot be had or cannot cope, pip does it.
# Where the pinned versions cannot be had (another Python, another platform), the ranges decide.
$(STAMP): pyproject.toml $(wildcard $(PINS))
	$(call heading,Installing into $(VENV))
	@set -e; python=; for candidate in $(PYTHONS); do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then echo "labkit needs Python 3.11 or newer, and none was found. Name one: make lab PYTHON=/path/to/python"; exit 1; fi; \
	test -x $(BIN)/python || $$python -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python's venv module does not work here. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet uv || true
	@pins="$(if $(PINS),--constraint $(PINS))"; if $(cpu_build); then build=--torch-backend=cpu; else build=; fi; \
	if [ -n "$$build" ] || [ "$$(uname -s)" != Linux ]; then echo "With the CPU build of torch: $(SMALL)."; \
	else echo "With the default build of torch: $(LARGE)."; fi; \
	echo "Less where some of it was downloaded before. This is done once."; \
	for install in "$(BIN)/uv pip install --quiet $$build --python $(BIN)/python" "$(BIN)/python -m pip install --quiet"; do \
	  for limits in "$$pins" ""; do \
	    if $$install $$limits --editable ".[$(EXTRAS)]"; then touch $@; exit 0; fi; \
	    echo "That did not work: $$install $$limits"; done; done; exit 1

# The browser of the browser tests: one that is there, else Debian's when we may, else Playwright's own.
browser: $(STAMP)
	@for name in chromium chromium-browser google-chrome; do if command -v $$name >/dev/null; then exit 0; fi; done; \
	if ls "$${PLAYWRIGHT_BROWSERS_PATH:-$$HOME/.cache/ms-playwright}"/chromium-* >/dev/null 2>&1; then exit 0; fi; \
	echo "No browser yet: fetching Chromium"; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update --quiet --quiet \
	  && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet chromium >/dev/null; then exit 0; fi; \
	if $(BIN)/playwright install chromium; then exit 0; fi; \
	if [ "$$CI" = true ]; then echo "No browser can be had, and CI leaves no layer out."; exit 1; fi; \
	echo "No browser can be had here: the browser tests are left out."

# Node for the unit tests of scripts, 18 or newer: one that is there, else Debian's when we may. No lesson needs it.
node:
	@for name in node nodejs; do \
	  if $$name -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null; then exit 0; fi; done; \
	echo "No node yet: fetching Debian's"; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update --quiet --quiet \
	  && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet nodejs >/dev/null; then exit 0; fi; \
	if [ "$$CI" = true ]; then echo "No node can be had, and CI leaves no layer out."; exit 1; fi; \
	echo "No node can be had here: the unit tests of scripts are left out."

# ---------------------------------------------------------------- the checks

# Binaries from Python wheels: neither asks for node.
SCRIPTS := 'labkit/**/*.js' 'labkit/**/*.css' 'tests/**/*.js' 'tests/**/*.mjs'
lint: $(STAMP) ## Style and format
	$(call heading,Style)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(call heading,Style of scripts)
	@if [ -x $(BIN)/oxlint ]; then $(BIN)/oxlint labkit tests && $(BIN)/oxfmt --check $(SCRIPTS); \
	elif [ "$$CI" = true ]; then echo "There is no oxlint, and CI leaves no check out."; exit 1; \
	else echo "No oxlint can be had for this machine: the style of scripts is left out."; fi

types: $(STAMP) ## Types of the package
	$(call heading,Types)
	@$(BIN)/mypy

arrows: $(STAMP) ## Which room may import which
	$(call heading,Arrows between the rooms)
	@$(BIN)/lint-imports --no-logo

fast: $(STAMP) node ## Unit tests, invariants, hostile input, offline
	$(call heading,Units and invariants and hostile input and no network)
	@$(paired) tests/unit tests/invariants tests/hostile tests/offline --durations=10

kernel: $(STAMP) ## Widget messages over a live kernel
	$(call heading,A live kernel)
	@$(paired) tests/kernel --durations=5

lessons: $(STAMP) browser ## Build the lessons again and run their solutions
	$(call heading,The lessons)
	@$(paired) tests/notebooks --durations=5
	@$(paired) -p tests.notebooks.promises --nbval-lax --nbval-cell-timeout=200 \
	  notebooks/solutions --durations=5

page: $(STAMP) browser ## A real browser on a real JupyterLab; what `make lessons` has run is looked at, not run again
	$(call heading,A real browser)
	@$(paired) --dist=worksteal tests/browser --durations=5

# ---------------------------------------------------------------- other versions

# Beside them: what belongs to ipywidgets 7, and a plum that the fastai of that time can be pickled with.
BOUNDS := build/bounds
BESIDE := "ipykernel>=6.17" "jupyterlab-widgets>=1.1,<2" "plum-dispatch>=2.5,<2.10"
bounds: $(STAMP) ## Install the lowest versions that pyproject.toml allows; run the quick tests and a console on them
	$(call heading,The lowest versions that are allowed)
	@$(BIN)/uv venv --quiet --seed --clear --python $(BIN)/python $(BOUNDS)
	@$(BIN)/uv pip install --quiet --python $(BOUNDS)/bin/python --resolution lowest-direct \
	  --editable ".[lessons,test,pretrain,scale]" $(BESIDE)
	@OMP_NUM_THREADS=1 $(BOUNDS)/bin/python -m pytest --numprocesses=2 --dist=loadfile -m "not slow" \
	  tests/unit tests/invariants tests/kernel/test_console_messages.py --durations=10

# Colab has Python 3.13; where there is none, ours takes its place. LESSONS=00 runs one lesson.
COLAB := build/colab
COLAB_PYTHON ?= 3.13
LESSONS ?=
colab: $(STAMP) ## Run the solutions on the versions that Colab brings; not part of `make test`
	$(call heading,The versions of Colab)
	@$(BIN)/uv venv --quiet --seed --clear --no-python-downloads --python $(COLAB_PYTHON) $(COLAB) 2>/dev/null \
	  || { echo "No Python $(COLAB_PYTHON) here: taking that of $(VENV)"; \
	       $(BIN)/uv venv --quiet --seed --clear --python $(BIN)/python $(COLAB); }
	@$(BIN)/uv pip install --quiet --python $(COLAB)/bin/python --constraint tests/colab.txt \
	  --editable . fastai ipykernel ipython nbval pytest pytest-timeout nbformat
	@OMP_NUM_THREADS=1 COLAB_RELEASE_TAG=none $(COLAB)/bin/labkit doctor
	@OMP_NUM_THREADS=1 COLAB_RELEASE_TAG=none $(COLAB)/bin/python -m pytest -p tests.notebooks.promises \
	  --nbval-lax --nbval-cell-timeout=200 $(or $(wildcard notebooks/solutions/$(LESSONS)*.ipynb),notebooks/solutions)

# ---------------------------------------------------------------- measuring

MINUTES ?= 10
bench-console: $(STAMP) browser ## Measure the console in a real page while ResNet-18 trains
	@$(BIN)/python tests/bench/console.py --minutes $(MINUTES)

# How much memory lessons take: at their peak, and while somebody plays at their consoles.
SOAK_MINUTES ?= 30
peaks: $(STAMP) ## Print how much memory each lesson takes (LESSONS="05 12" for some)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.peaks $(LESSONS)

soak: $(STAMP) ## Play at the consoles of lessons 00 and 05 for half an hour each, and print what the kernel holds
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.soak $(LESSONS) --minutes $(SOAK_MINUTES)

# ---------------------------------------------------------------- outside CI
mutants: $(STAMP) ## Make small mistakes in a copy of the checkout, and see that a test notices each
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants

fresh: $(STAMP) ## Do what a stranger does, in an empty home: clone, make lab, make test; print every bound
	@$(BIN)/python -m tests.fresh

# ---------------------------------------------------------------- making things

notebooks: $(STAMP) ## Build the notebooks from notebooks/src
	@$(BIN)/labkit build-lessons

book: $(STAMP) ## Build the reading edition: the course as a site, from executed lessons
	@$(BIN)/python -c "import myst_nb, sphinx_book_theme" 2>/dev/null \
	  || $(BIN)/uv pip install --quiet --python $(BIN)/python --editable ".[book]" \
	  || $(BIN)/python -m pip install --quiet --editable ".[book]"
	@$(BIN)/labkit book

format: $(STAMP) ## Put the code into its format
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	@if [ -x $(BIN)/oxfmt ]; then $(BIN)/oxfmt $(SCRIPTS); fi

# Without labkit itself and without what only some platforms have.
pins: $(STAMP) ## Write the versions installed here to tests/constraints.txt
	@{ sed -n '/^#/p' tests/constraints.txt; $(BIN)/uv pip freeze --quiet --python $(BIN)/python \
	  | grep -vE '^(-e|#|labkit|pip|uv|cuda-|nvidia-|triton)' | sed 's/+cpu$$//'; } > .pins && mv .pins tests/constraints.txt

clean: ## Remove the environment and everything that was made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
