import math
from datetime import UTC, datetime, timedelta

import pytest

from worker.contract import job_counters
from worker.contract.job_counters import COUNTERS, DURATION_BOUNDS
from worker.contract.live import LiveJobs
from worker.contract.resources import Kind, Live, RequestRecord, Status

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_before_any_job_has_ended_every_counter_is_there_and_0(redis):
    counted = job_counters.read(redis)
    assert len(counted) == 3 * len(Kind)
    assert {ended.jobs for ended in counted.values()} == {0}
    assert set(counted[Kind.DATASET, Status.FAILED].within) == set(DURATION_BOUNDS)


def test_a_duration_counts_for_every_bound_that_it_does_not_exceed(redis):
    for seconds in (0.5, 60, 61, 10_000_000):
        job_counters.count(redis, Kind.TRAINING, Status.SUCCEEDED, seconds)
    ended = job_counters.read(redis)[Kind.TRAINING, Status.SUCCEEDED]
    assert (ended.jobs, ended.seconds) == (4, 10_000_121.5)
    assert [ended.within[bound] for bound in (1, 30, 60, 180, 604_800, math.inf)] == [1, 1, 2, 3, 3, 4]
    assert list(ended.within.values()) == sorted(ended.within.values())


def test_a_job_that_never_started_has_no_duration(redis):
    job_counters.count(redis, Kind.DATASET, Status.CANCELED, None)
    ended = job_counters.read(redis)[Kind.DATASET, Status.CANCELED]
    assert (ended.jobs, ended.seconds, ended.within[math.inf]) == (1, 0, 0)


def test_two_hosts_whose_clocks_differ_take_nothing_off(redis):
    job_counters.count(redis, Kind.DATASET, Status.SUCCEEDED, -3.0)
    ended = job_counters.read(redis)[Kind.DATASET, Status.SUCCEEDED]
    assert (ended.seconds, ended.within[1]) == (0, 1)


def test_what_was_counted_for_other_bounds_is_not_lost(redis):
    redis.hset(COUNTERS, "dataset failed within 45.0", 2)
    within = job_counters.read(redis)[Kind.DATASET, Status.FAILED].within
    assert (within[30], within[60], within[math.inf]) == (0, 2, 2)


@pytest.mark.parametrize(("started", "seconds", "with_duration"), [(STARTED, 90.0, 1), (None, 0.0, 0)])
def test_the_end_of_a_job_is_counted(redis, store, started, seconds, with_duration):
    live = LiveJobs(redis, store, clock=lambda: STARTED + timedelta(seconds=90))
    record = RequestRecord(id=Kind.TRAINING.new_id(), kind=Kind.TRAINING, created_at=STARTED, request={})
    state = Live(status=Status.RUNNING, run=1, started_at=started)
    live.finish(record, state, Status.FAILED, progress=None, result=None, error=None, versions={})
    ended = job_counters.read(redis).pop((Kind.TRAINING, Status.FAILED))
    assert (ended.jobs, ended.seconds, ended.within[math.inf]) == (1, seconds, with_duration)
    assert sum(each.jobs for each in job_counters.read(redis).values()) == 1
