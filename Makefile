# The two commands are `make lab` and `make test`; both install what is missing first (root or sudo).
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
# The lab needs root; sudo keeps the caller's environment apart from the result, so only what matters is passed on.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=CI,XDG_CACHE_HOME,HOME)

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' Makefile)

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

lab: setup ## Two gateways, a tunnel with real ESP between them, and a report of what was measured
	@$(SUDO) $(PYTHON) -m xfrmctl lab demo

lab-shell: setup ## The same tunnel, left up, and a shell to explore it
	@$(SUDO) $(PYTHON) -m xfrmctl lab shell

test: setup-test ## Everything that CI runs: lint, tests on this machine, tests with real ESP in the lab
	@tools/test.sh

test-quick: setup-test ## In minutes: lint, the tests without ESP, and those with real ESP that the first tunnel stands on
	@tools/test.sh quick

lint: setup-test ## Style, types, import rules, spelling
	@tools/test.sh lint

test-host: setup-test ## The tests that need no ESP
	@tools/test.sh host

test-deploy: setup-test ## Packages, units and roles on nodes with a real systemd
	@tools/test.sh deploy

test-lab: setup-test ## The tests that need real ESP
	@tools/test.sh lab

bench: setup-test ## Handshakes per second beside strongSwan's, in the lab
	@$(SUDO) $(PYTHON) -m xfrmctl.lab run -- $(PYTHON) -m bench

bench-scale: setup-test ## What 10,000 tunnels cost: a SYN, a change, memory; in the lab
	@$(SUDO) $(PYTHON) -m xfrmctl.lab run -- $(PYTHON) -m bench.scale

bench-pieces: setup-test ## How long the daemon's loop is held by a scrape, show and diagnose at 10,000 CHILD SAs; in the lab
	@$(SUDO) $(PYTHON) -m xfrmctl.lab run --memory 4000 -- $(PYTHON) -m bench.pieces

fuzz: setup-test ## Fuzz the whole responder for MINUTES (60); goes on from where the last campaign ended
	@nice -n 19 $(PYTHON) -m tests.fuzz.campaign --minutes $(or $(MINUTES),60)

matrix: setup-test ## The black-hole matrix, whole, beside strongSwan's, in virtual time: hours of a processor, resumable
	@$(SUDO) $(PYTHON) tools/black_holes.py all

docs-black-holes: ## Write docs/black-holes.md from the results of `make matrix`
	@$(PYTHON) tools/black_holes.py doc

matrix-interop: setup-test ## Every tunnel that each foreign daemon can do, not only those of `make test`: hours, resumable
	@$(SUDO) $(PYTHON) tools/interop_matrix.py all

docs-interop: ## Write docs/interop.md from the results of `make test-lab`
	@$(PYTHON) tools/interop_matrix.py doc

docs-config: ## Write docs/configuration.md from the configuration's schema
	@$(PYTHON) tools/config_reference.py
	@$(PYTHON) -m xfrmctl check --schema >ansible/roles/xfrmctl/files/xfrmctl.schema.json

docs-metrics: ## Write docs/metrics.md from the metrics' own words
	@$(PYTHON) tools/metrics_reference.py

docs-findings: ## Write docs/findings.md from the catalogue of findings and the faults of the lab
	@$(PYTHON) tools/findings.py

docs-messages: ## Write docs/messages.md: everything that can be said when something is wrong
	@$(PYTHON) tools/messages.py

docs-man: ## Write man/xfrmctl.8 and man/xfrmctl.yaml.5 from the help texts and the schema
	@$(PYTHON) tools/man_pages.py

docs-alerts: ## Write docs/alerts.md from the alerts and the catalogue of findings
	@$(PYTHON) tools/alerts.py

dashboards: ## Write deploy/grafana/dashboards from tools/dashboards
	@$(PYTHON) -m tools.dashboards

dashboard-schema: ## Make the schema that checks them again, from Grafana's published types: wants npm, and the internet
	@cd tools/dashboard_schema && npm ci --ignore-scripts --no-audit --no-fund && \
	    FILE=../../tests/unit/deploy/dashboard.schema.json npm run generate

docs-import: ## Write docs/import.md from the tables of the importers
	@$(PYTHON) tools/import_reference.py

acceptance: setup-acceptance ## Package, box, five virtual machines, role, every scenario, reboot, upgrade: half an hour or more
	@$(SUDO) tools/acceptance.sh $(OPTIONS)

soak: setup-test ## A day in virtual time: two real daemons, fifty tunnels, in the lab's kernel
	@$(SUDO) $(PYTHON) -m xfrmctl.lab run --time-travel -- $(PYTHON) -m bench.soak --hours $(or $(HOURS),24)

wheel: setup-test ## Build a wheel into dist/
	@tools/package.sh wheel

wheels: setup-test ## An archive of that wheel and all that it needs into dist/, for machines without an index
	@tools/package.sh wheels

deb: setup-test ## Build a Debian package for this release of Debian or Ubuntu into dist/
	@tools/package.sh deb

test-releases: ## The Debian package in roots of other releases: Debian 13, and Ubuntu 24.04 with UBUNTU_MIRROR=URL; minutes
	@$(SUDO) UBUNTU_MIRROR=$(UBUNTU_MIRROR) tools/releases.sh

oci: setup-test ## Build an OCI image with that package into dist/, without a daemon and a registry
	@$(SUDO) tools/package.sh oci

setup:
	@tools/setup.sh lab

setup-test:
	@tools/setup.sh test

setup-acceptance:
	@tools/setup.sh acceptance

clean: ## Remove what was made here; the built lab kernel stays in the user's cache
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
