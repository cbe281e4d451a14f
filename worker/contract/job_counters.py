"""How many jobs have ended, how, and how long they took: counted in Redis by whoever ends one, for `GET /metrics`.

They are Prometheus' counters, which only grow. Should Redis lose them they begin at 0 again, as Prometheus expects.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from redis import Redis

from worker.contract.resources import Kind, Status

COUNTERS = "ragan:ended"
"""The hash of all counters; its fields are a kind, a status, and what is counted of those jobs."""
DURATION_BOUNDS = (
    *(1.0, 3.0, 10.0, 30.0),
    *(60.0, 180.0, 600.0, 1800.0),
    *(3600.0, 10_800.0, 28_800.0),
    *(86_400.0, 259_200.0, 604_800.0),
    math.inf,
)
"""In seconds, from one to a week: a job counts for the first that it did not take longer than."""


@dataclass(frozen=True)
class EndedJobs:
    """Jobs of one kind that ended in one status, since Redis began to count."""

    jobs: int
    """All of them, those that were cancelled before they started, too; the rest is of those that had started."""
    seconds: float
    """That they took together, from their start to their end."""
    within: Mapping[float, int]
    """How many took no longer than each of DURATION_BOUNDS."""


def count(redis: Redis, kind: Kind, status: Status, seconds: float | None) -> None:
    """A job has ended, so many seconds after it was started; None if it never was."""
    with redis.pipeline() as at_once:
        at_once.hincrby(COUNTERS, f"{kind} {status} jobs", 1)
        if seconds is not None:
            took = max(seconds, 0.0)  # the clocks of two hosts may differ
            bound = next(each for each in DURATION_BOUNDS if took <= each)
            at_once.hincrbyfloat(COUNTERS, f"{kind} {status} seconds", took)
            at_once.hincrby(COUNTERS, f"{kind} {status} within {bound}", 1)
        at_once.execute()


def read(redis: Redis) -> dict[tuple[Kind, Status], EndedJobs]:
    """What was counted of every kind and every status that a job can end in."""
    stored = cast("dict[bytes, bytes]", redis.hgetall(COUNTERS))
    counters = {name.decode(): float(value) for name, value in stored.items()}
    return {
        (kind, status): _ended(counters, f"{kind} {status}") for kind in Kind for status in Status if status.terminal
    }


def _ended(counters: Mapping[str, float], of: str) -> EndedJobs:
    # By the bounds that were counted for, which an earlier version may have chosen otherwise.
    prefix = f"{of} within "
    counted = {float(name.removeprefix(prefix)): n for name, n in counters.items() if name.startswith(prefix)}
    return EndedJobs(
        jobs=int(counters.get(f"{of} jobs", 0)),
        seconds=counters.get(f"{of} seconds", 0.0),
        within={bound: int(sum(n for other, n in counted.items() if other <= bound)) for bound in DURATION_BOUNDS},
    )
