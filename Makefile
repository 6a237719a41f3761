# One word a task; `make help` lists them. All that is needed beforehand is Python 3.11 or later with its venv module.

PYTHON = python3
VENV = .venv
LOWEST = .venv-lowest
AUDIT = .venv-audit
# twistd's choice where there is no epoll.
REACTOR = $(shell $(PYTHON) -c 'import select; print("switchd" if hasattr(select, "epoll") else "default")')
PIP = -m pip --quiet --disable-pip-version-check

.PHONY: help serve test unit style types e2e conformance lowest bench bench-quick bench-record soak audit clean

help:           ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## */  make \1\t/p' Makefile | expand -t 20

serve: $(VENV)/serve            ## run the server with conf/switchd.toml
	$(VENV)/bin/twistd --reactor $(REACTOR) -n --pidfile= switchd --config conf/switchd.toml

test: style types $(LOWEST)/test        ## all checks and all tests
	$(VENV)/bin/pytest
	$(LOWEST)/bin/pytest -m "not e2e"

unit: $(VENV)/test              ## the fast tests: no processes, no installs
	$(VENV)/bin/pytest -m "not e2e"

e2e: $(VENV)/test               ## a real twistd with real clients, and installs
	$(VENV)/bin/pytest -m e2e

conformance: $(VENV)/test       ## all cases of Autobahn|Testsuite, against /echo
	$(VENV)/bin/python -m tests.testsuite --cache .testsuite

style: $(VENV)/test             ## ruff
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

types: $(VENV)/test             ## mypy
	$(VENV)/bin/mypy

lowest: $(LOWEST)/test          ## the fast tests on the oldest dependencies that setup.cfg allows
	$(LOWEST)/bin/pytest -m "not e2e"

bench: $(VENV)/serve            ## switchd beside its peers, in a few minutes
	$(VENV)/bin/python -m benchmarks

bench-quick: $(VENV)/serve      ## the same in a minute, roughly
	$(VENV)/bin/python -m benchmarks --quick

soak: $(VENV)/serve             ## ten minutes of load that has to hold, and what is left of the server
	$(VENV)/bin/python -m benchmarks.soak

audit: $(VENV)/test | $(AUDIT)/bin/pip  ## whether anything that is installed has known vulnerabilities
	-$(AUDIT)/bin/python $(PIP) install --upgrade pip-audit
	$(VENV)/bin/python tests/audit.py $(AUDIT)/bin/pip-audit $(VENV)

bench-record: $(VENV)/test $(LOWEST)/test       ## what the hot paths cost, for `make test` to compare with
	$(LOWEST)/bin/python -m benchmarks.guard --record
	$(VENV)/bin/python -m benchmarks.guard --add

clean:          ## remove what the other words have made
	rm -rf $(VENV) $(LOWEST) $(AUDIT) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .testsuite .bench .hypothesis
	rm -f twisted/plugins/dropin.cache
	find switchd twisted tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

# Stamp files: what is installed stays until setup.cfg changes. The install is an editable one.

$(VENV)/serve: setup.cfg pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/python $(PIP) install -e '.[speedups]'
	@touch $@

$(VENV)/test: setup.cfg pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/python $(PIP) install -e '.[test]'
	@touch $@ $(VENV)/serve

$(LOWEST)/test: setup.cfg pyproject.toml tests/lowest.py | $(LOWEST)/bin/pip
	$(LOWEST)/bin/python tests/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python $(PIP) install -e '.[test]' --constraint $(LOWEST)/constraints.txt
	@touch $@

# Debian has ensurepip in a package of its own; without it, `python3 -m venv` leaves half an environment behind.
$(VENV)/bin/pip $(LOWEST)/bin/pip $(AUDIT)/bin/pip:
	@$(PYTHON) -c '' || { echo 'There is no $(PYTHON) here. On Debian: apt-get install python3 python3-venv' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "switchd needs Python 3.11 or later; this is $$($(PYTHON) --version). make PYTHON=... names another." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo '$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(@:/bin/pip=)
