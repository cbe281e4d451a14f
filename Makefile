# Two commands: `make demo` runs the main job, `make test` runs every check. Both set up what they need.
SHELL := /bin/sh
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test lint up clean

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
	$(BIN)/pytest --cov

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
