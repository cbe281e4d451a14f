"""How a job's attempt ends, and what is written down of it, whatever the stage does."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from redis import Redis

from worker import jobs
from worker.context import JobContext, StopRequested
from worker.contract.errors import SourceUnreadable
from worker.contract.live import LiveJobs, utc_now
from worker.contract.logs import JOB_ID
from worker.contract.queues import QueueName, queue
from worker.contract.resources import Kind, Live, Manifest, RequestRecord, Status
from worker.contract.store import Store

Stage = Callable[[RequestRecord, JobContext], Any]


class Made(BaseModel):
    images: int = 1


@pytest.fixture
def job(redis: Redis, redis_url: str, store: Store, live: LiveJobs, monkeypatch: pytest.MonkeyPatch) -> RequestRecord:
    """One that waits, where a worker would look for it."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("RAGAN_STORE", str(store.root))
    record = RequestRecord(id=Kind.TRAINING.new_id(), kind=Kind.TRAINING, created_at=utc_now(), request={})
    store.write_request(record)
    live.create(record.id, record.run)
    return record


@pytest.fixture
def ended(job: RequestRecord, store: Store, live: LiveJobs) -> Callable[[Stage], Manifest]:
    """`ended(stage)`: what is written down after a stage had its attempt."""

    def attempt(stage: Stage) -> Manifest:
        assert jobs._attempt(job.id, job.run, stage) is None
        manifest = store.read_manifest(job.id)
        assert manifest is not None
        assert live.read(job.id) is None
        assert list(store.root.glob(".scratch/*")) == []
        return manifest

    return attempt


def raising(error: BaseException, needed: int = 0) -> Stage:
    def stage(_record: RequestRecord, context: JobContext) -> None:
        if needed:
            context.need_room(needed)
        raise error

    return stage


def state_of(live: LiveJobs, job: RequestRecord) -> Live:
    state = live.read(job.id)
    assert state is not None
    return state


def test_what_was_made_is_the_result(ended):
    manifest = ended(lambda _record, _context: Made(images=3))
    assert (manifest.status, manifest.attempt, manifest.result) == (Status.SUCCEEDED, 1, {"images": 3})


def test_what_is_logged_during_an_attempt_names_the_job(ended, job):
    named = []
    ended(lambda _record, _context: named.append(JOB_ID.get()) or Made())
    assert [*named, JOB_ID.get()] == [job.id, None]


def test_an_error_with_a_sentence_is_told_as_it_is(ended, live, job):
    manifest = ended(raising(SourceUnreadable("It has no rows.")))
    assert (manifest.status, manifest.error.detail) == (Status.FAILED, "It has no rows.")
    assert {"message": "Failed: It has no rows."} in [event.data for event in live.events(job.id)]


def test_a_disk_that_became_full_is_told_with_what_the_job_needed(ended):
    manifest = ended(raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), needed=5_000_000))
    assert manifest.error.type == "/problems/disk-full"
    assert "5.0 MB are needed and" in manifest.error.detail


def test_a_job_for_which_there_is_no_room_fails_before_it_begins(ended):
    manifest = ended(raising(AssertionError("it has begun"), needed=2**62))
    assert manifest.error.type == "/problems/disk-full"


def test_a_disk_that_became_full_between_two_turns_is_told_by_the_next_one(job, store, live, monkeypatch):
    assert jobs._attempt(job.id, job.run, lambda *_: None) is None
    assert store.has_ballast(job.id)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("worker.contract.store.tempfile.mkdtemp", full)
    assert jobs._attempt(job.id, job.run, lambda *_: Made(), turn=1) is None
    manifest = store.read_manifest(job.id)
    assert (manifest.status, manifest.error.type) == (Status.FAILED, "/problems/disk-full")
    assert live.read(job.id) is None
    assert list(store.root.glob(".scratch/*")) == []


def test_a_disk_that_does_not_work_is_told_with_the_file(ended):
    manifest = ended(raising(OSError(errno.EIO, "Input/output error", "images.npy")))
    assert manifest.error.type == "/problems/store-unavailable"
    assert "images.npy could not be read or written (Input/output error)" in manifest.error.detail


def test_an_error_that_nobody_foresaw_is_logged_in_full_and_told_by_its_name(ended, caplog):
    manifest = ended(raising(ZeroDivisionError("a secret")))
    assert "ZeroDivisionError" in manifest.error.detail
    assert "a secret" not in manifest.error.detail
    assert "a secret" in caplog.text


def test_a_stop_hands_the_job_back_without_an_attempt(job, live, store):
    assert jobs._attempt(job.id, job.run, raising(StopRequested())) is not None
    assert (state_of(live, job).status, state_of(live, job).attempt) == (Status.QUEUED, 0)
    assert store.read_manifest(job.id) is None


def test_a_cancel_ends_the_job_with_what_there_is(ended, live, job):
    def stage(_record: RequestRecord, context: JobContext) -> None:
        live.move(job.id, job.run, Status.CANCELING)
        assert context.should_stop()
        raise StopRequested(Made(images=2))

    manifest = ended(stage)
    assert (manifest.status, manifest.result) == (Status.CANCELED, {"images": 2})


def test_a_turn_that_is_over_queues_the_next(job, redis, store):
    assert jobs._attempt(job.id, job.run, lambda _record, _context: None) is None
    assert queue(QueueName.TRAIN, redis).get_job_ids() == [f"{job.id}-1-1"]
    assert store.read_manifest(job.id) is None


def test_a_job_whose_store_takes_nothing_waits_for_one_that_does(job, live, store, ended):
    store.root.joinpath(".scratch").write_text("where a folder should be")
    jobs.SHUTDOWN.set()  # so that it does not pause
    try:
        assert jobs._attempt(job.id, job.run, raising(AssertionError("it has begun"))) is not None
    finally:
        jobs.SHUTDOWN.clear()
    assert (state_of(live, job).status, state_of(live, job).attempt) == (Status.QUEUED, 0)

    store.root.joinpath(".scratch").unlink()
    assert ended(lambda _record, _context: Made()).attempt == 1


def test_a_cancel_of_a_job_whose_end_could_not_be_written_down_stays_one(job, live, store, ended):
    folder: Path = store.folder(job.id)

    def stage(_record: RequestRecord, _context: JobContext) -> None:
        live.move(job.id, job.run, Status.CANCELING)
        folder.rename(folder.with_name("away"))
        folder.write_text("where a folder should be")
        raise StopRequested

    jobs.SHUTDOWN.set()
    try:
        assert jobs._attempt(job.id, job.run, stage) is not None
    finally:
        jobs.SHUTDOWN.clear()
    assert state_of(live, job).status is Status.CANCELING

    folder.unlink()
    folder.with_name("away").rename(folder)
    assert ended(raising(AssertionError("it has begun"))).status is Status.CANCELED


def test_a_job_whose_end_was_written_down_but_not_told_is_not_done_again(job, live, store, ended):
    live.move(job.id, job.run, Status.RUNNING)
    written = Manifest(
        id=job.id,
        kind=job.kind,
        run=job.run,
        status=Status.SUCCEEDED,
        started_at=None,
        finished_at=utc_now(),
        attempt=1,
        progress=None,
        result={"images": 7},
        error=None,
        versions={},
    )
    store.write_manifest(written)
    assert ended(raising(AssertionError("it has begun"))) == written
    assert [event.type for event in live.events(job.id)][-1] == "end"


def test_a_job_that_was_deleted_is_nothing_to_do(job, live, store):
    store.delete(job.id)
    assert jobs._attempt(job.id, job.run, raising(AssertionError("it has begun"))) is None
