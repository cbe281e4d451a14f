"""How long the fuzzing lasts, and what came of it.

`pytest tests/fuzz` tries some thousand cases in less than a minute. `pytest tests/fuzz --hypothesis-profile=long` tries
twenty times as many, new ones each time.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping

import pytest
from hypothesis import settings

settings.register_profile("long", max_examples=20 * settings().max_examples, print_blob=True)

Tally = Mapping[str, Counter[str]]
"""Of each kind of input, how often it came to what."""
TALLY = pytest.StashKey[Tally]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = defaultdict(Counter)


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts, which the end of the run shows: `tally["pictures"]["read"] += 1`."""
    return request.config.stash[TALLY]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not (tally := config.stash[TALLY]):
        return
    terminalreporter.section("bad input")
    for kind, outcomes in sorted(tally.items()):
        came_to = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
        terminalreporter.write_line(f"{kind}: {outcomes.total():,} tried, {came_to}")
