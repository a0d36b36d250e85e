# Everything starts here. Each target makes its own .venv when there is none and installs once.
#   make demo    train a model federatedly on this machine, as separate processes
#   make demo-xai  the same, and each device explains its predictions: ends with a contact sheet
#   make test    all tests, two at a time (JOBS=1); what needs a program this machine lacks is skipped
#   make test-fast  unit and contract tests, without S3 and the frameworks: about a minute
#   make test-long  the tests that take long: each example on two devices, outages of hours, kills
#   make docs-test  type all commands of the README, the tutorials and the how-tos (some minutes)
#   make check   formatting, lint, types, import contracts, rooms
#   make bench   the benchmarks
#   make scale   a round, and a rollout, of a thousand devices on this machine (ARGS="--devices 300" for fewer)
#   make attack  what others notice while a server is attacked: ten minutes at most (ARGS="--quick")
#   make chaos   50 runs whose processes are killed, frozen and cut off (ARGS="--schedules 5 --seed 2")
#   make containers  build the images of deploy/, run them and train with them (needs buildah and podman)
#   make record-protocol  keep the calls of a new version of the protocol (tests/fixtures/protocol)
#   make soak    24 rounds with a device at 1 Mbit/s whose connections are cut (SOAK_ROUNDS=100 for more)
#   make soak-pages  the server's memory while 20 pages are open for half an hour (ARGS="--quick": two minutes)
#   make screenshots  pictures of every page of the dashboard, with real data, into docs/images
#   make flower-next  the tests of what FedOps uses of Flower, against the newest Flower that installs
# Options: PY=python3.12 (the Python to use), ARGS="..." (handed on, e.g. make demo ARGS="--rounds 3").

PY     ?= python3
VENV   ?= .venv
ARGS   ?=
SOAK_ROUNDS ?= 24
EXTRAS := torch,keras,sklearn,huggingface,xai,simulation,postgres,s3,wandb,export,dev
APP    := apps/mnist-xai
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOG    := $(VENV)/install.log
NEXT   := .venv-next

.DEFAULT_GOAL := help
.PHONY: help demo demo-xai test test-fast test-long docs-test check bench scale attack chaos containers soak soak-pages screenshots record-protocol flower-next format docs clean

help:
	@sed -n 's/^#   //p' Makefile

demo-xai: $(STAMP)
	@$(BIN)/fedops demo --xai $(ARGS)

demo: $(STAMP)
	@$(BIN)/fedops demo $(ARGS)

# Two at a time: most tests wait for processes that they started.
test: $(STAMP)
	@$(BIN)/python -m pytest -rs -n $(or $(JOBS),2) --dist loadfile $(ARGS)

# Unit and contract tests, without the implementations that take long: S3, the frameworks.
test-fast: $(STAMP)
	@$(BIN)/python -m pytest -rs tests/unit tests/contract -k "not s3 and not keras and not huggingface and not pytorch" $(ARGS)

test-long: $(STAMP)
	@$(BIN)/python -m pytest -rs -n $(or $(JOBS),2) --dist loadfile -m long $(ARGS)

# The pages that 'make test' reads are the quick ones; these are all.
docs-test: $(STAMP)
	@$(BIN)/python -m pytest -rs -m "" tests/acceptance/pages $(ARGS)

check: $(STAMP)
	@echo "check: formatting"       && $(BIN)/ruff format --check --quiet .
	@echo "check: lint"             && $(BIN)/ruff check --quiet .
	@echo "check: types, here and on win32 and darwin" && pids= && \
	for system in linux win32 darwin; do \
	  $(BIN)/mypy --no-error-summary --platform $$system --cache-dir .mypy_cache/$$system & pids="$$pids $$!"; \
	done; ended=0; for pid in $$pids; do wait $$pid || ended=1; done; exit $$ended
	@echo "check: import contracts, rooms" && $(BIN)/lint-imports > $(VENV)/imports.log 2>&1 || { cat $(VENV)/imports.log; exit 1; }
	@$(BIN)/python .ci/rooms.py > /dev/null
	@echo "check: all clean"

bench: $(STAMP)
	@$(BIN)/python benchmarks/run.py $(ARGS)

scale: $(STAMP)
	@$(BIN)/python benchmarks/thousand_devices.py $(ARGS)
	@$(BIN)/python benchmarks/rollout_to_many.py $(ARGS)

soak-pages: $(STAMP)
	@$(BIN)/python benchmarks/dashboard.py --soak $(ARGS)

attack: $(STAMP)
	@$(BIN)/python benchmarks/attack.py $(ARGS)

chaos: $(STAMP)
	@$(BIN)/python tests/acceptance/chaos/run.py $(ARGS)

containers: $(STAMP)
	@$(BIN)/python tests/containers/run.py $(ARGS)

record-protocol: $(STAMP)
	@$(BIN)/python tests/integration/api/record_protocol.py

soak: $(STAMP)
	@SOAK_ROUNDS=$(SOAK_ROUNDS) $(BIN)/python -m pytest -rs --timeout 3600 tests/acceptance/test_slow_link.py $(ARGS)

screenshots: $(STAMP)
	@$(BIN)/python tests/acceptance/screenshots/take.py $(ARGS)

# Without frameworks and without our constraints: what matters is what a new Flower brings along.
flower-next:
	@test -x $(NEXT)/bin/python || { echo "Making $(NEXT) ..." && $(PY) -m venv $(NEXT); }
	@$(NEXT)/bin/python .ci/flower_next.py $(ARGS)

format: $(STAMP)
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

docs: $(STAMP)
	@$(BIN)/python docs/reference/generate.py

clean:
	rm -rf $(VENV) $(NEXT)

# PIP_CONSTRAINT holds for what builds the package too, which -c alone does not.
$(STAMP): pyproject.toml constraints.txt $(APP)/pyproject.toml
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "FedOps needs Python 3.11 or newer; '$(PY)' is $$($(PY) --version). Try: make PY=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) ..." && $(PY) -m venv $(VENV); }
	@echo "Installing FedOps and what it needs into $(VENV): once, some minutes, about 2 GB (log: $(LOG)) ..."
	@export PIP_CONSTRAINT="$(CURDIR)/constraints.txt" PIP_DISABLE_PIP_VERSION_CHECK=1; \
	  { $(BIN)/python -m pip install -e ".[$(EXTRAS)]" && \
	    $(BIN)/python -m pip install --no-deps -e "$(APP)" && \
	    $(BIN)/python -m compileall -q src $(APP); } > $(LOG) 2>&1 || \
	  { tail -n 20 $(LOG); echo "The installation failed; the whole log is in $(LOG)."; exit 1; }
	@touch $@
