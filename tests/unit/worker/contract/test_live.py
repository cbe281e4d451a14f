import threading
from pathlib import Path

import fakeredis
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from worker.contract.errors import WrongState
from worker.contract.live import EVENTS_FILE, LiveJobs, Superseded, event_order, events_key, utc_now
from worker.contract.resources import TRANSITIONS, Kind, Progress, RequestRecord, Status
from worker.contract.store import Store


@pytest.fixture
def training(store) -> str:
    record = RequestRecord(id=Kind.TRAINING.new_id(), kind=Kind.TRAINING, created_at=utc_now(), request={})
    store.write_request(record)
    return record.id


def test_a_job_goes_its_way(live, training):
    live.create(training, 1)
    assert live.read(training).status is Status.QUEUED
    running = live.move(training, 1, Status.RUNNING)
    assert (running.status, running.attempt) == (Status.RUNNING, 1)
    live.end(training, 1, Status.SUCCEEDED)
    assert live.read(training) is None


def test_each_start_counts_an_attempt_and_keeps_the_first_start(live, training):
    live.create(training, 1)
    first = live.move(training, 1, Status.RUNNING)
    second = live.move(training, 1, Status.RUNNING)
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.started_at == first.started_at


def test_a_job_that_is_handed_back_has_not_had_its_attempt(live, training):
    live.create(training, 1)
    live.move(training, 1, Status.RUNNING)
    assert live.move(training, 1, Status.QUEUED).attempt == 0
    assert live.move(training, 1, Status.RUNNING).attempt == 1


def test_a_run_that_is_over_cannot_be_moved(live, training):
    live.create(training, 2)
    with pytest.raises(WrongState, match="is over"):
        live.move(training, 1, Status.RUNNING)
    assert live.read(training).status is Status.QUEUED


def test_a_process_whose_job_another_one_has_is_told_and_shows_no_progress(live, training):
    progress = Progress(phase="train", done=1, total=2, unit="steps")
    live.create(training, 1)
    stale = live.move(training, 1, Status.RUNNING)
    assert live.check_epoch(training, stale.epoch) == stale
    newer = live.move(training, 1, Status.RUNNING)

    with pytest.raises(Superseded, match=training):
        live.check_epoch(training, stale.epoch)
    live.report(training, stale.epoch, progress)
    assert live.read(training).progress is None
    assert [event.type for event in live.events(training)] == ["status"] * 3

    live.report(training, newer.epoch, progress)
    assert live.check_epoch(training, newer.epoch).progress == progress
    assert live.events(training)[-1].type == "progress"


def test_a_process_whose_job_has_ended_or_was_forgotten_is_told(live, training):
    live.create(training, 1)
    epoch = live.move(training, 1, Status.RUNNING).epoch
    live.end(training, 1, Status.SUCCEEDED)
    with pytest.raises(Superseded):
        live.check_epoch(training, epoch)
    live.create(training, 2)
    with pytest.raises(Superseded):
        live.check_epoch(training, epoch)


def test_of_two_changes_at_once_one_wins(live, training):
    outcomes: list[str] = []
    for _ in range(20):
        live.create(training, 1)
        live.move(training, 1, Status.RUNNING)
        barrier = threading.Barrier(2)

        def change(to: Status, barrier=barrier) -> None:
            barrier.wait()
            try:
                live.move(training, 1, to, only_from=[Status.RUNNING])
                outcomes.append("won")
            except WrongState:
                outcomes.append("lost")

        threads = [threading.Thread(target=change, args=(to,)) for to in (Status.CANCELING, Status.QUEUED)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == ["lost"] * 20 + ["won"] * 20


def test_events_are_replayed_from_any_of_them(live, training):
    live.create(training, 1)
    ids = [live.emit(training, "metrics", {"step": step}) for step in range(5)]
    assert [event.data["step"] for event in live.events(training, ids[2])] == [3, 4]
    assert [event.type for event in live.events(training)] == ["status"] + ["metrics"] * 5


def test_event_ids_go_on_over_the_runs_of_a_job_and_every_run_has_its_end(live, store, redis, training):
    live.create(training, 1)
    live.end(training, 1, Status.CANCELED)
    redis.delete(events_key(training))  # as when its hour in Redis is over
    live.create(training, 2)
    live.end(training, 2, Status.SUCCEEDED)
    events = live.events(training)
    assert [event.type for event in events] == ["status", "status", "end"] * 2
    assert [event.order for event in events] == sorted({event.order for event in events})
    assert (store.folder(training) / EVENTS_FILE).read_text().count("\n") == 6


def test_a_run_that_began_while_the_one_before_was_closed_is_left_alone(live, store, redis, training, monkeypatch):
    live.create(training, 1)
    publish = Store.publish_bytes

    def resumed_meanwhile(self, content, resource_id, name):
        live.create(training, 2)
        return publish(self, content, resource_id, name)

    monkeypatch.setattr(Store, "publish_bytes", resumed_meanwhile)
    live.end(training, 1, Status.SUCCEEDED)
    assert (live.read(training).run, live.read(training).status) == (2, Status.QUEUED)
    assert redis.ttl(events_key(training)) == -1
    assert [event.type for event in live.events(training)] == ["status", "status", "end", "status"]


def test_an_end_that_comes_after_the_next_run_began_is_not_told(live, training):
    live.create(training, 1)
    live.create(training, 2)
    live.end(training, 1, Status.SUCCEEDED)
    assert [event.type for event in live.events(training)] == ["status", "status"]
    assert live.read(training).run == 2


def test_what_is_deleted_while_it_ends_stays_deleted(live, store, training):
    live.create(training, 1)
    store.delete(training)
    live.end(training, 1, Status.SUCCEEDED)
    assert not store.folder(training).exists()


def test_an_ended_job_leaves_redis_by_itself_and_a_resumed_one_stays(live, redis, training):
    live.create(training, 1)
    live.end(training, 1, Status.FAILED)
    assert redis.ttl(events_key(training)) > 0
    live.create(training, 2)
    assert redis.ttl(events_key(training)) == -1


def test_a_forgotten_job_leaves_nothing(live, redis, training):
    live.create(training, 1)
    live.forget(training)
    assert redis.keys("*") == []


@pytest.mark.parametrize("event_id", ["5", "5-0", "0-0", f"{2**64 - 2}-{2**64 - 2}"])
def test_what_redis_takes_for_an_event_s_id_is_one(live, training, event_id):
    event_order(event_id)
    assert live.events(training, event_id) == []


@pytest.mark.parametrize(
    "event_id",
    ["", "x", "-1", "5-", "-5", "5--1", " 5", "5_0-0", "\u0665-0", "5-\u00b2", "5-0-0", f"{2**64}-0", f"0-{2**64}"],
)
def test_nothing_else_is_an_event_s_id(event_id):
    with pytest.raises(ValueError, match=r"is not one number|not below"):
        event_order(event_id)


def test_which_of_many_jobs_are_active_is_asked_at_once(live, training):
    ended, queued = Kind.DATASET.new_id(), Kind.DATASET.new_id()
    live.create(training, 1)
    live.move(training, 1, Status.RUNNING)
    live.create(queued, 1)
    assert live.active([training, ended, queued]) == {training, queued}
    assert live.active([]) == set()


class JobStates(RuleBasedStateMachine):
    """Whatever is tried in whatever order: only what TRANSITIONS allows happens."""

    @initialize()
    def queue(self):
        self.live = LiveJobs(fakeredis.FakeRedis(), Store(Path()))
        self.job = Kind.TRAINING.new_id()
        self.live.create(self.job, 1)
        self.status, self.attempts = Status.QUEUED, 0

    @rule(to=st.sampled_from(Status), only_from=st.sets(st.sampled_from(Status)))
    def move(self, to, only_from):
        allowed = to in TRANSITIONS[self.status] and self.status in only_from
        try:
            self.live.move(self.job, 1, to, only_from=only_from)
        except WrongState:
            assert not allowed
        else:
            assert allowed
            self.status = to
            self.attempts += {Status.RUNNING: 1, Status.QUEUED: -1}.get(to, 0)

    @invariant()
    def agrees(self):
        state = self.live.read(self.job)
        assert (state.status, state.attempt) == (self.status, self.attempts)


TestJobStates = JobStates.TestCase
TestJobStates.settings = settings(max_examples=60, stateful_step_count=15)
