# `make run` and `make test` do the set-up themselves; all of it lands in .venv.
# Needs Python 3.11 or 3.12, GNU make and a package index; a Python of your own: make PYTHON=...

.PHONY: help setup run check test elsewhere lint faults audit fuzz notebooks lab browse lock
.DEFAULT_GOAL := help

# Tried in order; a pyenv shim may exist and still not run, so each is asked.
supported := -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' >/dev/null 2>&1
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	"$$python" $(supported) && { echo "$$python"; break; }; done)
python := .venv/bin/python
notebooks := $(wildcard notebooks/*.ipynb)
# The notebooks are tested on a simulated market of a fixed day, apart from the user's data.
market := $(CURDIR)/.venv/var/market

make_market = rm -rf $(market) && POKEWATCH_HOME=$(market) .venv/bin/pokewatch run \
	--source simulated --date 2026-06-30

test_notebooks = POKEWATCH_HOME=$(market) $(python) -m pytest -n 2 --dist loadscope -p no:fugue_test \
	--nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg $(notebooks)

# JupyterLab asks nothing on its first page and calls nowhere.
lab_settings := .venv/share/jupyter/lab/settings/overrides.json

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export ZENML_ANALYTICS_OPT_IN := false
export ZENML_AUTO_OPEN_DASHBOARD := false
# With ZenML's traceback on, notebook cells that fail pass under nbval.
export ZENML_ENABLE_RICH_TRACEBACK := false
export ZENML_LOGGING_COLORS_DISABLED := true

# Compiled once into .venv, imports cost a third of the time in every later process.
unexport PYTHONDONTWRITEBYTECODE

# Kernels of the nightly run and of the tests leave nothing in the home folder.
run check test elsewhere notebooks: export IPYTHONDIR := $(CURDIR)/.venv/var/ipython
run check test elsewhere notebooks: export JUPYTER_RUNTIME_DIR := $(CURDIR)/.venv/var/jupyter
# Parallel tests share the cores: OpenMP threads that wait for each other would cost minutes.
check test elsewhere notebooks: export OMP_NUM_THREADS := 1
run check test elsewhere notebooks: export MPLCONFIGDIR := $(CURDIR)/.venv/var/matplotlib

# uv reads none of pip's configuration: hand it pip's index and certificate where it has no own.
define uv_from_pip
pip_setting() { $(python) -m pip config list | sed -n "s/^.*\.$$1='\(.*\)'$$/\1/p" | head -n 1; }; \
index=$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$$(pip_setting index-url)}}; \
cert=$${SSL_CERT_FILE:-$$(pip_setting cert)}; \
[ -z "$$index" ] || export UV_DEFAULT_INDEX="$$index"; \
[ -z "$$cert" ] || export SSL_CERT_FILE="$$cert"
endef

help: ## list the targets (the default)
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup: .venv/.stamp ## create .venv with the locked packages; instant when nothing has changed

run: .venv/.stamp ## the nightly job on the simulated market; the last line is the report's path
	@$(python) pipelines/ml_pipeline.py

check: lint ## lint, and every test that is quick: what one runs while working
	@$(python) -m pytest -q -n 2 --dist loadscope -p no:fugue_test -m 'not slow' tests

test: lint ## lint, the nightly job, then every test and every notebook
	@$(make_market)
	@$(test_notebooks) tests

elsewhere: .venv/.stamp ## the nightly job and every notebook, with other last bits of NumPy's functions
	@export PYTHONPATH=$(CURDIR)/tests/another_processor; $(make_market)
	@export PYTHONPATH=$(CURDIR)/tests/another_processor; $(test_notebooks)

faults: .venv/.stamp ## every fault test, with 200 processes killed at random moments
	@OMP_NUM_THREADS=1 POKEWATCH_KILLS=$${POKEWATCH_KILLS:-200} $(python) -m pytest -s tests/faults

lint: .venv/.stamp ## ruff (lint and format), mypy, and who may import what
	@$(python) -m ruff check
	@$(python) -m ruff format --check
	@$(python) -m mypy
	@.venv/bin/lint-imports --no-logo >.venv/var/imports 2>&1 || { cat .venv/var/imports >&2; exit 1; }

# Without an answer for a package nothing is known of it: that is said, and fails.
audit: .venv/.stamp ## known vulnerabilities of the locked packages; needs an index with advisories
	@$(python) -m pip_audit --version >/dev/null 2>&1 || $(python) -m pip install -qq pip-audit
	@$(python) scripts/audit.py

fuzz: .venv/.stamp ## broken bytes into every reader, for FUZZ_SECONDS (60)
	@$(python) scripts/fuzz.py

notebooks: .venv/.stamp ## execute the notebooks and keep their outputs; some only: NAMES="01_exploration"
	@$(make_market)
	@POKEWATCH_HOME=$(market) $(python) scripts/make_notebooks.py $(NAMES)

lab: .venv/.stamp ## JupyterLab on its welcome page, on loopback, behind a token; options: LAB_ARGS
	@mkdir -p $(dir $(lab_settings)) && printf '%s\n' '{"@jupyterlab/apputils-extension:notification":' \
		'{"fetchNews": "false", "checkForUpdates": false}}' > $(lab_settings)
	@.venv/bin/jupyter lab --ServerApp.ip=127.0.0.1 --ServerApp.root_dir=notebooks \
		--LabApp.default_url=/lab/tree/index.ipynb $(LAB_ARGS)

browse: .venv/.stamp ## cards, market and portfolio as pages on loopback; options: BROWSE_ARGS
	@.venv/bin/pokewatch browse $(BROWSE_ARGS)

lock: $(python) ## requirements.lock from pyproject.toml; newer versions: LOCK_ARGS=--upgrade
	@$(python) -m pip install -qq uv
	@$(uv_from_pip); $(python) -m uv pip compile --quiet --no-header --no-annotate --all-extras \
		--group dev --universal $(LOCK_ARGS) pyproject.toml -o requirements.lock

$(python):
	@'$(PYTHON)' $(supported) || { echo "PokeWatch needs Python 3.11 or 3.12, which" \
		"'$(or $(PYTHON),python3)' is not: install one, or name one: make" \
		"$(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@'$(PYTHON)' -m venv --clear .venv || { rm -rf .venv; exit 1; }

# pip, which obeys all of its own configuration, is the second try.
.venv/.stamp: $(python) pyproject.toml requirements.lock
	@echo 'Setting up .venv: the first time takes a minute or two' >&2
	@$(python) -m pip install -qq uv
	@$(uv_from_pip); \
	{ $(python) -m uv pip sync --quiet --python $(python) requirements.lock && \
	  $(python) -m uv pip install --quiet --python $(python) --no-deps -e .; } || \
	{ echo 'uv could not install the packages; trying pip' >&2; \
	  $(python) -m pip install -qq -r requirements.lock && \
	  $(python) -m pip install -qq --no-deps -e .; }
	@mkdir -p .venv/var && touch $@
