# Two commands: `make demo` runs the main job, `make test` runs every check. Both set up what they need.
SHELL := /bin/sh
UV_VERSION := 0.13.9
PIP_AUDIT_VERSION := 2.10.1
VENV := .venv
BIN := $(VENV)/bin

PEERS := .venv-peers

# A file's tests stay together, for they share what they have made. A process with TensorFlow takes up to 2 GB.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile
# The services that integration tests start give way to every other process.
WITHOUT_SERVICES := "not integration and not faults"

# What runs, as it is locked; what only checks it is left out.
RUNTIME := --quiet --frozen --no-emit-project --all-extras --no-extra dev

.PHONY: setup demo test test-faults coverage lint up bench bench-full quality recipes peers sbom audit clean

setup: $(VENV)/.locked

$(VENV)/.locked: pyproject.toml uv.lock .ci/setup
	@sh .ci/setup $(VENV) $(UV_VERSION)
	@touch $@

demo: setup
	@$(BIN)/ragan demo

up: setup
	@$(BIN)/ragan up

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy app worker

test: lint
	$(BIN)/pytest -m $(WITHOUT_SERVICES) $(SIDE_BY_SIDE)
	$(BIN)/pytest -m integration
	@$(MAKE) test-faults

# Watching each line takes a third more time, so that it is not part of every run.
coverage: setup
	$(BIN)/pytest --cov

# What happens when processes, Redis or the disk fail: docs/reliability.md
test-faults: setup
	$(BIN)/pytest -m faults tests/faults

# What is measured, against what, and what came out: docs/benchmarks.md
bench: setup peers
	$(BIN)/python benchmarks/preparation.py $(BENCH)
	$(BIN)/python benchmarks/generation.py $(BENCH)
	$(BIN)/python benchmarks/training.py --torch $(PEERS)/bin/python $(BENCH)
	$(BIN)/python benchmarks/evaluation.py $(BENCH)
	$(BIN)/python benchmarks/api.py $(BENCH)
	$(BIN)/python benchmarks/load.py $(BENCH)

bench-full:
	@$(MAKE) bench BENCH=--full

quality: setup
	$(BIN)/python benchmarks/quality.py --grids docs/benchmarks

# What each option does to the images, by three seeds; takes hours: docs/quality.md
recipes: setup
	$(BIN)/python benchmarks/recipes.py run
	$(BIN)/python benchmarks/recipes.py grids
	@$(BIN)/python benchmarks/recipes.py tables

peers: $(PEERS)/.installed

# By the Python that .ci/setup chose, and without ensurepip, as there.
$(PEERS)/.installed: benchmarks/peers/requirements.txt | $(VENV)/.locked
	@python=$$(readlink -f $(BIN)/python) && \
	"$$python" -m venv --without-pip $(PEERS) && \
	"$$python" -m pip --quiet --disable-pip-version-check --python $(PEERS)/bin/python install \
		-r benchmarks/peers/requirements.txt
	@touch $@

# What RaGAN is made of, and what is known against it: docs/security.md
sbom: setup
	@$(BIN)/uv --preview-features sbom-export export $(RUNTIME) --format cyclonedx1.5 --output-file dist/ragan.cdx.json

audit: setup
	@$(BIN)/uv export $(RUNTIME) --format requirements.txt --output-file dist/requirements.txt
	@$(BIN)/uv tool run --quiet --python $(BIN)/python pip-audit==$(PIP_AUDIT_VERSION) \
		--vulnerability-service osv --disable-pip --requirement dist/requirements.txt

clean:
	rm -rf $(VENV) $(PEERS) dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
