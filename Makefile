# Optimizers, Executed. 'make' alone lists the targets; each one sets up .venv first if that is needed.
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
CHAPTERS := $(sort $(wildcard chapters/*.ipynb))

.DEFAULT_GOAL := help
.PHONY: help book test notebooks portable experiments bench mutants lab site-check lock clean

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1 @\2/p' Makefile | awk -F@ '{printf "%-20s%s\n", $$1, $$2}'

book: $(READY) ## Build the website into _build/html from the stored outputs, with warnings as errors
	@$(BIN)/jupyter-book build . -q -W --keep-going
	@echo "The book: open file://$(CURDIR)/_build/html/index.html"

# The work is spread over processes; threads within each would only fight for the cores.
test notebooks: export OMP_NUM_THREADS ?= 1

test: $(READY) ## Run the unit tests, then run every chapter and compare its outputs with the stored ones
	$(BIN)/ruff check
	$(BIN)/pytest -n auto
	$(BIN)/pytest -n auto --dist loadfile --nbval --nbval-current-env $(CHAPTERS)

notebooks: $(READY) ## Run every chapter anew, in place; a failing chapter keeps its old file
	@$(BIN)/python tools/run_notebooks.py $(CHAPTERS)

# SETTINGS="ulp 1" runs one setting; 'tools/portable.py --list' names them.
portable: $(READY) ## Run every chapter as other processors would; all outputs must stay (half an hour; SETTINGS="ulp 1": 3 minutes)
	@$(BIN)/python tools/portable.py $(if $(SETTINGS),--only "$(SETTINGS)") $(CHAPTERS)

experiments: $(READY) ## Run the long experiments anew; each writes a file in src/lessons/data
	@for script in experiments/*.py; do echo "$$script" && $(BIN)/python "$$script" || exit 1; done

bench: export OMP_NUM_THREADS ?= 1
bench: $(READY) ## Time the optimizers beside torch's, print the ratios, write src/lessons/data/costs.csv (4 minutes)
	@mkdir -p .benchmarks
	@$(BIN)/pytest -p no:xdist --benchmark-quiet --benchmark-disable-gc \
		--benchmark-json=.benchmarks/costs.json benchmarks/bench_costs.py
	@$(BIN)/python benchmarks/report.py .benchmarks/costs.json

mutants: $(READY) ## Break the package on purpose, one change at a time; the tests must notice each (half an hour)
	@$(BIN)/python tools/mutants.py

lab: $(READY) ## Open the chapters in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=. chapters/$(notdir $(firstword $(CHAPTERS)))

site-check: book ## Check the built pages: nothing loaded from elsewhere, links, captions, alt texts
	@$(BIN)/python tools/check_site.py _build/html

lock: ## Compile requirements.txt anew from pyproject.toml
	@sh tools/lock.sh

clean: ## Remove the built site, the environment and all caches
	rm -rf _build $(VENV) .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf src/*.egg-info

$(READY): requirements.txt pyproject.toml
	@sh tools/setup.sh $(VENV) $(PYTHON)
