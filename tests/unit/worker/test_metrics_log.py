import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.metrics_log import FLUSH_SECONDS, MetricsLog


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def append(log: MetricsLog, *steps: int) -> None:
    for step in steps:
        log.append({"step": step, "d_loss": 0.5})


def test_rows_are_seen_after_a_second_at_a_checkpoint_and_on_close(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "training" / "metrics.jsonl"
    log = MetricsLog(path, steps=0, clock=clock)
    append(log, 1, 2)
    assert steps_in(path) == []
    clock.now = FLUSH_SECONDS
    append(log, 3)
    assert steps_in(path) == [1, 2, 3]
    append(log, 4)
    assert steps_in(path) == [1, 2, 3]
    log.sync()
    assert steps_in(path) == [1, 2, 3, 4]
    append(log, 5)
    log.close()
    assert steps_in(path) == [1, 2, 3, 4, 5]


def test_going_on_cuts_the_rows_of_later_steps_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, steps=0)
    append(log, 1, 2, 3, 4)
    log.close()
    with path.open("a") as file:
        file.write('{"step": 5, "d_lo')

    log = MetricsLog(path, steps=3)
    assert log.last == {"step": 3, "d_loss": 0.5}
    assert steps_in(path) == [1, 2, 3]
    append(log, 4)
    log.close()
    assert steps_in(path) == [1, 2, 3, 4]


def test_a_lost_log_begins_where_the_training_is(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", steps=10)
    assert log.last == {}
    append(log, 11)
    log.close()
    assert steps_in(tmp_path / "metrics.jsonl") == [11]


@given(runs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=5))
def test_whatever_runs_came_before_there_is_one_row_per_step(
    runs: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    reached = 0
    for kept, taken in runs:
        start = min(kept, reached)
        log = MetricsLog(path, steps=start)
        append(log, *range(start + 1, start + taken + 1))
        log.close()
        reached = start + taken
        assert steps_in(path) == list(range(1, reached + 1))


def test_a_process_that_lost_its_training_writes_no_row_into_the_log_of_the_one_that_has_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    stale = MetricsLog(path, steps=0)
    append(stale, 1, 2)
    stale.sync()
    newer = MetricsLog(path, steps=2)
    append(newer, 3)
    append(stale, 3, 4)
    stale.close()
    newer.close()
    assert steps_in(path) == [1, 2, 3]
