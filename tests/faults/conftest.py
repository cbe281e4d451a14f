"""A machine for each test, and what was measured on it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Nothing runs on it yet."""
    (tmp_path / "sources").mkdir()
    made = Machine(tmp_path)
    yield made
    made.close()


MEASURED = pytest.StashKey[list[tuple[str, float]]]()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """`measured(what, seconds)`: told at the end of the run, for docs/reliability.md."""
    told = request.config.stash.setdefault(MEASURED, [])

    def tell(what: str, seconds: float) -> None:
        told.append((what, seconds))

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for what, seconds in config.stash.get(MEASURED, []):
        terminalreporter.write_line(f"{seconds:7.1f} s  {what}")
