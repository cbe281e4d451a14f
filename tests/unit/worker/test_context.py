from pathlib import Path

import pytest

from worker.context import REPORT_SECONDS, JobContext
from worker.contract.settings import Settings
from worker.contract.store import Store


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Reports(list):
    report = list.append


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def context(clock, reports):
    folder = Path()
    return JobContext(
        resource_id="tr_x", store=Store(folder), scratch=folder, settings=Settings(), reporter=reports, clock=clock
    )


def test_the_start_and_the_end_of_a_phase_are_always_told(context, reports):
    for step in range(101):
        context.progress("train", step, 100, "steps")
    assert [report.done for report in reports] == [0, 100]
    context.progress("save", 0, 1, "files")
    assert [report.phase for report in reports] == ["train", "train", "save"]


def test_between_them_it_is_told_now_and_then(context, clock, reports):
    for step in range(101):
        context.progress("train", step, 100, "steps")
        clock.now += REPORT_SECONDS / 4
    assert [report.done for report in reports] == list(range(0, 101, 4))


def test_rate_and_time_left_follow_the_last_seconds(context, clock, reports):
    for step in range(101):
        context.progress("train", step, 200, "steps")
        clock.now += 0.1 if step < 50 else 1.0
    last = reports[-1]
    assert last.rate == pytest.approx(1.0, rel=0.05)
    assert last.eta_seconds == pytest.approx(last.total - last.done, rel=0.05)
    assert last.percent == pytest.approx(100 * last.done / 200)


def test_nothing_is_said_of_the_rate_before_there_is_one(context, reports):
    context.progress("train", 0, 200, "steps")
    assert (reports[0].rate, reports[0].eta_seconds) == (None, None)


def test_a_job_without_a_known_total_has_no_end_in_sight(context, clock, reports):
    context.progress("read", 0, None, "files")
    clock.now += 10
    context.progress("read", 5, None, "files")
    assert (reports[-1].percent, reports[-1].eta_seconds, reports[-1].rate) == (None, None, 0.5)
