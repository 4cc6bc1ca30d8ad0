# Optimizers, Executed. 'make' alone lists the targets; each one sets up .venv first if that is needed.
VENV := .venv
BIN := $(VENV)/bin
CHAPTERS := $(sort $(wildcard chapters/*.ipynb chapters/evidence/*.ipynb))

.DEFAULT_GOAL := help
.PHONY: help ready book test notebooks portable reading experiments bench mutants lab site-check phone linkcheck lock clean distclean

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1 @\2/p' Makefile | awk -F@ '{printf "%-20s%s\n", $$1, $$2}'

# One place knows when .venv must be made or changed: when it is not there, when it was moved, when the lists changed.
ready:
	@TORCH='$(TORCH)' sh tools/setup.sh '$(VENV)' $(PYTHON)

# Sphinx builds on what it finds, and does not find out that half of it is missing: so only a build that ended well is
# built upon, and any other is begun anew.
book: ready ## Build the website into _build/html from the stored outputs, with warnings as errors
	@test -e _build/.complete || rm -rf _build
	@mkdir -p _build && rm -f _build/.complete
	@$(BIN)/jupyter-book build . -q -W --keep-going
	@touch _build/.complete
	@$(BIN)/python -c 'import pathlib; print("The book: open", pathlib.Path("_build/html/index.html").resolve().as_uri())'

# The stored outputs are those of a CPU.
test notebooks: export LESSONS_DEVICE ?= cpu

test: ready ## Run the unit tests, then run every chapter and compare its outputs with the stored ones
	$(BIN)/ruff check
	$(BIN)/pytest -n auto
	$(BIN)/pytest -n auto --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout 300 $(CHAPTERS)

notebooks: ready ## Run every chapter anew, in place; a failing chapter keeps its old file
	@$(BIN)/python tools/run_notebooks.py $(CHAPTERS)

reading: ready ## Count each page's words, lines of code, tables, pictures and long sentences
	@$(BIN)/python tools/reading.py

# SETTINGS="ulp 1" runs one setting; 'tools/portable.py --list' names them.
portable: ready ## Run every chapter as other processors would; all outputs must stay (half an hour; SETTINGS="ulp 1": 3 minutes)
	@$(BIN)/python tools/portable.py $(if $(SETTINGS),--only "$(SETTINGS)") $(CHAPTERS)

experiments: ready ## Run the long experiments anew; each writes a file of stored results
	@for script in experiments/*.py; do echo "$$script" && $(BIN)/python "$$script" || exit 1; done

bench: export OMP_NUM_THREADS ?= 1
bench: ready ## Time the optimizers beside torch's, print the ratios, store them (4 minutes)
	@mkdir -p .benchmarks
	@$(BIN)/pytest -p no:xdist --benchmark-quiet --benchmark-disable-gc \
		--benchmark-json=.benchmarks/costs.json benchmarks/bench_costs.py
	@$(BIN)/python benchmarks/report.py .benchmarks/costs.json

mutants: ready ## Break the code on purpose, one change at a time; the tests must notice 95 % (an hour or two; FILES=… for some)
	@$(BIN)/python tools/mutants.py $(FILES)

lab: ready ## Open the chapters in JupyterLab, which saves only when you save
	$(BIN)/jupyter lab --notebook-dir=. --LabApp.app_settings_dir=tools/jupyterlab \
		--LabApp.extra_labextensions_path=tools/jupyterlab/labextensions $(firstword $(CHAPTERS))

site-check: book ## Check the built pages: nothing loaded from elsewhere, links, captions, alt texts, the search
	@$(BIN)/python tools/check_search.py _build/html
	@$(BIN)/python tools/check_site.py _build/html

phone: book ## Measure the built pages as a phone shows them; needs Chromium
	@$(BIN)/python tools/phone.py _build/html

linkcheck: ready ## Ask every server that the book links to whether the page is still there
	@$(BIN)/jupyter-book build . -q --builder linkcheck --path-output _build/linkcheck

lock: ## Compile requirements.txt anew from pyproject.toml
	@sh tools/lock.sh

clean: ## Remove the built site and all caches
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
	find . -path './$(VENV)' -prune -o -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove the environment, too
	rm -rf '$(VENV)' src/*.egg-info
